"""Which passages a dialogue brings, in which order, and how well their sentences fit."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.chat_config import load
from serve_app.grounding import KnowledgeBase
from serve_app.sentence_encoder import sentence_encoder
from serve_app.small_talk import phrase_book


def test_text_without_any_punctuation_is_cut_and_found() -> None:
    text = " ".join(f"item{i} costs {i} coins" for i in range(300)) + " the lantern hangs in the cellar"
    base = KnowledgeBase(text, 40)
    assert all(len(passage.split()) <= 40 for passage in base.passages)
    assert " ".join(base.passages) == text
    assert "lantern" in base.rank(["Where is the lantern?"], 1).passages[0].text


@pytest.mark.parametrize(
    ("text", "question"),
    [
        *((text, "What is it?") for text in ("", " ", "\n\n \n", "\0", "...", "。", "😀 😀")),
        *(("A pod is small. It runs.", question) for question in ("", "😀", "...", "\0")),
        ("I am. It is.", "..."),
    ],
)
def test_a_text_or_question_without_words_brings_nothing(text: str, question: str) -> None:
    assert all(passage.filling for passage in KnowledgeBase(text, 40).rank([question], 4).passages)


@pytest.mark.parametrize(
    ("text", "question", "found"),
    [
        ("Кошка спит на диване. Собака бежит по полю. Рыба живёт в воде.", "Где спит кошка?", "Кошка"),
        ("Η γάτα κοιμάται στον καναπέ. Ο σκύλος τρέχει στον κήπο.", "Πού τρέχει ο σκύλος;", "σκύλος"),
        ("החתול ישן על הספה. הכלב רץ בגינה.", "איפה הכלב?", "הכלב"),
        ("Die Brücke wurde 1890 gebaut. Der Turm ist höher.", "Wann wurde die Brücke gebaut?", "1890"),
    ],
)
def test_other_scripts_are_found(text: str, question: str, found: str) -> None:
    assert found in KnowledgeBase(text, 7).rank([question], 1).passages[0].text


# --- a text as the workshop application's: about 1,900 tokens in one line of prose ------------------------------------

HARBOUR = re.sub(
    r"\s+",
    " ",
    """Port Ellery is a small harbour town on the eastern shore of the Vannic Sea. About nine thousand people live there
    the whole year, and twice as many in the summer. The first houses were built by salt traders, who came down the
    river Orle on flat barges and needed a place to wait for the tide. Their warehouses still stand along the quay,
    although most of them now hold workshops, cafes and a museum of knots. The town received its charter in 1412 from
    Duchess Irmengard, who wished to tax the salt and therefore had to protect it. For three hundred years the charter
    was kept in an iron chest under the altar of Saint Brannoc, until a flood carried the chest into the cellar of the
    bakery next door. It was found again by a baker's apprentice who was looking for yeast. Since then the town has
    celebrated Chest Day every October with a race of bread carts down the steep Cooper Lane. The oldest building is
    the custom house, whose walls are almost two metres thick. It was meant to resist cannon fire, but the only thing
    that ever struck it was a runaway hay wagon. Today the harbour master works on its upper floor and the tourist
    office on the ground floor. The lighthouse on Gannet Point is thirty-eight metres high and was designed by the
    engineer Tobias Wren. Its lamp first burned whale oil, later paraffin, and since 1931 it has been electric. The beam
    can be seen from twenty-six kilometres away in clear weather. When fog hides the beam, a horn sounds twice each
    minute, and older residents say that they cannot sleep when it is silent. The last lighthouse keeper, Marta
    Lindqvist, retired in 1988, when the lamp was automated. She stayed in the keeper's cottage and raised goats, whose
    cheese became more famous than the tower. Visitors may climb the two hundred and four steps on Sundays. Ferries
    leave from the northern pier for the islands of Skerrow and Little Hame. The crossing to Skerrow takes fifty
    minutes, while the crossing to Little Hame takes almost two hours because the boat must go around the sandbanks.
    In winter there is only one ferry a day, and none at all when waves at the bar are higher than four metres. The
    ferry company is owned by its captains, who meet each January to decide on fares. Cars have not been carried since
    the old ramp broke, so islanders keep their cars in a field behind the station and share the keys. The railway
    reached the town in 1867, after a long quarrel about where the station should stand. The mayor wanted it near the
    market, the fishermen wanted it near the pier, and the company chose a meadow that suited neither. A tram drawn by
    two horses ran between the meadow and the market until 1924. The horses of the last team were called Duke and
    Pepper, and a bronze statue of them stands where the stable used to be. Trains to the capital now take three hours
    and run every ninety minutes. Fishing was the main trade until the herring vanished in the nineteen fifties. Some
    boats changed to crab, others were sold to collectors, and a few families began to grow mussels on ropes in the
    sheltered bay. The mussel farm of the Okafor family is the largest, with eleven kilometres of rope and its own
    laboratory. Every rope is lifted by hand twice a year so that starfish can be removed. The starfish are dried and
    sold to gardeners as fertiliser. The fish market opens at five in the morning and closes when the last crate is
    sold, which is rarely later than eight. Buyers do not shout their bids; they place coloured stones on the crates,
    a custom that began during an epidemic of sore throats. The grammar school was founded in 1702 by a retired
    pirate named Josiah Crane, who had been taught to read in prison and was grateful for it. His portrait hangs in the
    hall, with the eye patch painted over and later painted back again. The school has four hundred pupils, a
    greenhouse, and an observatory with a telescope of forty centimetres. The telescope was a gift of the astronomer
    Halina Zawadzka, who discovered two comets from its dome. Pupils of the last year must keep a night log for one
    month, whatever the weather. The public library lends books, but also tools, musical instruments, fishing rods and
    a stuffed badger for theatre plays. Its reading room is warmed by the waste heat of the bakery, and so it smells of
    bread. The librarian, Benedikt Osei, keeps a list of all the reasons for which books came back late. The most
    frequent reason is the ferry, and the second is love. The weather is mild, because the sea keeps its warmth well
    into the autumn. Snow falls on about six days a year and seldom stays. The strongest storm on record came in
    February 1953 and moved the breakwater by almost a metre. After that storm the town planted a belt of black pines
    along the dunes, which now shelters nightjars and a rare orchid called ladies' tresses. Grey seals rest on the
    sandbanks from November to March, and boats must keep two hundred metres away from them. The hospital has sixty
    beds and a helicopter pad on the roof. Doctors from the hospital visit the islands each Wednesday, and in between
    they are consulted by radio. The most usual injury in summer is a sting of the weever fish, which is treated with
    hot water. Its pharmacy grows its own mint and camomile in the courtyard, following a plan drawn by monks. The
    kitchen of the region is plain. Its best known dish is pale stew, made of mussels, leeks, cream and barley. It is
    served in a loaf of dark bread whose inside has been hollowed out, and the bread is eaten last. On Fridays the
    taverns offer a dumpling filled with smoked eel, called a stoker, after the men who carried it to work in the
    boiler rooms. Children prefer salt fudge, which is made in copper pans by the sisters Amara and Colette Dufour.
    The theatre occupies a former rope factory and is therefore three hundred metres long and only nine metres wide.
    Actors need a bicycle to be on time for their entrance. Its festival in June shows twelve plays in six days, all of
    them by authors who have never been performed before. The town council has fifteen members, who sit in a circle so
    that nobody can be at the head. The present mayor, Ingrid Falk, was a diver and has promised to repair the ramp for
    the ferries. Electricity comes from nine wind turbines on the ridge and from a tidal mill that was rebuilt in 2009.
    The mill grinds flour at weekends to show how it once worked. Water is drawn from the springs at Holloway, which
    have never run dry, although the pipes have. The town is twinned with Castelmare, whose people send a lemon tree
    each spring and receive a barrel of mussels in return. The youth of both towns meet every third summer for a
    regatta of boats that they have built themselves from driftwood, barrels and old doors. The rules fill a single
    page and forbid nails. Anyone who sinks must sing, and the song is chosen by whoever comes last. The town's brass
    band, which plays on such days, has existed since 1849 and owns a tuba that was once used to bail out a lifeboat.
    The lifeboat itself is called Patience and is crewed by volunteers, among them a dentist, two teachers and the
    vicar. It is launched about forty times a year, most often for holiday makers on inflatable swans. A small shipyard
    on the southern bank of the Orle still repairs wooden hulls. Its owner, Rasmus Tide, teaches the trade to four
    apprentices at a time and pays them partly in firewood. Larch for the planks comes from the hills of Brennach, and
    it is seasoned for seven years before it is sawn. Beside the shipyard lies the allotment of the pigeon society,
    whose birds once carried prices from the capital before the telegraph did.""",
)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Who gave the town its charter?", "Duchess Irmengard"),
        ("How high is the lighthouse?", "thirty-eight metres"),
        ("Who was the last lighthouse keeper?", "Marta Lindqvist"),
        ("How long does the crossing to Skerrow take?", "fifty minutes"),
        ("What were the horses called?", "Duke and Pepper"),
        ("when did the railway reach the town?", "1867"),
        ("Which family has the largest mussel farm?", "Okafor"),
        ("What happens to the starfish?", "fertiliser"),
        ("Who founded the grammar school?", "Josiah Crane"),
        ("Who discovered comets?", "Halina Zawadzka"),
        ("Who is the librarian?", "Benedikt Osei"),
        ("When was the strongest storm?", "February 1953"),
        ("What is pale stew made of?", "leeks, cream and barley"),
        ("Where is the theatre?", "former rope factory"),
        ("who is the mayor", "Ingrid Falk"),
        ("What do the people of Castelmare send?", "lemon tree"),
        ("How old is the wood from Brennach?", "seasoned for seven years"),
    ],
)
def test_a_question_about_any_part_of_a_long_line_brings_its_passage_first_or_second(
    question: str, answer: str
) -> None:
    assert len(HARBOUR.split()) > 1350
    assert "\n" not in HARBOUR
    ranked = KnowledgeBase(HARBOUR, 40).rank([question], 2).passages
    assert any(answer in passage.text for passage in ranked), [passage.text for passage in ranked]


def test_passages_of_a_long_line_keep_every_word_once() -> None:
    assert " ".join(KnowledgeBase(HARBOUR, 40).passages) == HARBOUR


# --- ranking --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped() -> KnowledgeBase:
    config = load(Path("configs/chatbot.yaml"), environment={}).config
    return KnowledgeBase(config.knowledge, config.grounding.passage_words)


def texts(base: KnowledgeBase, *dialog: str, limit: int = 4) -> list[str]:
    """Those given for their score."""
    return [passage.text for passage in base.rank(dialog, limit).passages if not passage.filling]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is a pod?", "A pod is the"),
        ("What is a node?", "A node is"),
        ("What is Kubernetes?", "Kubernetes is an"),
        ("What is Ray?", "Ray is an"),
        ("What is a token?", "A token is"),
        ("what is ray serve", "Ray Serve is the"),
        ("Who created Ray?", "Ray was created"),
        ("What is a replica?", "A replica is"),
        ("What is an actor?", "A Ray actor is"),
        ("What is a cluster?", "A cluster is"),
        ("What is a transformer?", "A transformer is"),
        ("When was the transformer introduced?", "was introduced in"),
        ("What is a decoder?", "A decoder"),
        ("what is a service?", "A Service gives"),
        ("what is T5?", "T5 is an"),
        ("what does the scheduler do?", "The scheduler"),
        ("What is a deployment?", "A Deployment keeps"),
        ("What is a seed?", "A seed"),
        ("what is the head node?", "The head node"),
        ("how many parameters does GODEL have?", "220 million"),
        ("what is grounding", "Grounding means"),
        ("what is a language model?", "A language model"),
    ],
)
def test_questions_about_the_shipped_knowledge_bring_their_passage(
    shipped: KnowledgeBase, question: str, answer: str
) -> None:
    assert any(answer in text for text in texts(shipped, question))


def test_a_follow_up_is_resolved_through_the_history(shipped: KnowledgeBase) -> None:
    follow_up = "Who created it?"
    about_ray = texts(shipped, "What is Ray?", "Ray is an open-source framework.", follow_up, limit=1)
    about_kubernetes = texts(shipped, "What is Kubernetes?", "Kubernetes runs containers.", follow_up, limit=1)
    assert "Ray was created" in about_ray[0]
    assert "Kubernetes was created" in about_kubernetes[0]


def test_a_question_asked_again_brings_what_it_brought(shipped: KnowledgeBase) -> None:
    lead = shipped.rank(["What is a pod?"], 4).lead
    other = shipped.rank(["Who created Ray?"], 4).lead
    assert shipped.rank(["What is a pod?", lead, "what is a pod"], 4).lead == lead
    assert shipped.rank(["What is a pod?", lead, "Who created Ray?", other, "What is a pod?"], 4).lead == lead
    assert shipped.rank(["What is a pod?", lead, "What does pod mean?"], 4).lead == lead


def test_what_is_read_ahead_is_not_read_again_when_asked() -> None:
    base = KnowledgeBase("The loft sleeps forty-six. Rooms have bunks of pine. Guests leave by ten.", 40)
    base.read_ahead()
    read = sentence_encoder().sentence.cache_info().misses
    assert base.rank(["When must I be out?"], 4).lead == "Guests leave by ten."
    base.read_ahead()
    assert sentence_encoder().sentence.cache_info().misses == read


def test_a_change_of_subject_is_followed(shipped: KnowledgeBase) -> None:
    """A reply that repeated its passage once kept the next question's passage out of the first four."""
    dialog = ["What is Ray?", "Ray is an open-source framework that scales Python programs.", "What is a pod?"]
    assert "A pod is" in texts(shipped, *dialog, limit=1)[0]
    dialog += ["A pod is the smallest unit that Kubernetes schedules.", "And what does etcd store?"]
    assert "etcd is the database" in texts(shipped, *dialog, limit=1)[0]


def test_turns_long_past_do_not_count(shipped: KnowledgeBase) -> None:
    thanks = ["Thanks!", "You are welcome."] * 3
    assert texts(shipped, "What is a pod?", *thanks, "Hm?") == texts(shipped, "What is Ray?", *thanks, "Hm?")


@pytest.mark.parametrize("greeting", ["Hello!", "hi", "how are you?", "Thank you!", "Good morning"])
def test_a_greeting_brings_nothing(shipped: KnowledgeBase, greeting: str) -> None:
    assert texts(shipped, greeting) == []


@pytest.mark.parametrize("said", ["Hello there, how are you?", "hi, how is it going?", "are you there?", "Thanks, bye"])
def test_a_phrase_outweighs_what_small_talk_brings(shipped: KnowledgeBase, said: str) -> None:
    phrases = load(Path("configs/chatbot.yaml"), environment={}).config.generation.phrases
    sentences = (s for each in shipped.rank([said], 50).sentences.values() for s in each)
    assert max(phrase_book(tuple(phrases)).scores(said)) > max(s.score for s in sentences) + 0.2


def test_best_comes_first_and_no_more_than_the_limit(shipped: KnowledgeBase) -> None:
    ranked = shipped.rank(["What is a pod and which node does the scheduler choose for a pod?"], 50).passages
    scores = [passage.score for passage in ranked if not passage.filling]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] > 0
    assert [passage.filling for passage in ranked] == sorted(passage.filling for passage in ranked)
    for limit in (0, 1, 4):
        assert (
            shipped.rank(["What is a pod and which node does the scheduler choose for a pod?"], limit).passages
            == (ranked[:limit])
        )


SILENT = """The shrew hunts at night. It eats snails. It sleeps in reeds. It weighs five grams. Its back is grey. It has
a long tail. It swims well. It lives for three years. It is rare in the north. It was described in 1934."""


def test_what_only_fills_the_window_comes_after_what_fits_and_says_so() -> None:
    base = KnowledgeBase(SILENT, 5)
    ranked = base.rank(["How heavy is it?"], 50).passages
    fitting = [passage for passage in ranked if not passage.filling]
    assert "It weighs five grams." in [passage.text for passage in fitting]
    assert ranked == fitting + [passage for passage in ranked if passage.filling]
    assert sorted(passage.text for passage in ranked) == sorted(base.passages), "all that there is room for"
    assert all((passage.score > 0) is not passage.filling for passage in ranked)


def test_filling_begins_with_the_neighbours_of_what_fits() -> None:
    base = KnowledgeBase(SILENT, 5)
    ranked = base.rank(["How heavy is it?"], 50).passages
    places = [int(passage.id.removeprefix("p")) for passage in ranked]
    fitting = places[: sum(not passage.filling for passage in ranked)]
    neighbours = {place + step for place in fitting for step in (1, -1)} - set(fitting) & set(range(len(base.passages)))
    filling = places[len(fitting) :]
    assert neighbours
    assert set(filling[: len(neighbours)]) == neighbours & set(filling)
    rest = [passage.score for passage in ranked[len(fitting) + len(neighbours) :]]
    assert rest == sorted(rest, reverse=True)


def test_a_greeting_brings_filling_too_in_the_order_of_the_text(shipped: KnowledgeBase) -> None:
    """Without any, a model cannot answer what the ranking does not understand."""
    ranked = shipped.rank(["Hello!"], 4).passages
    assert [passage.filling for passage in ranked] == [True] * 4


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How heavy is it?", "It weighs five grams."),
        ("What is its food?", "It eats snails."),
        ("When was it discovered?", "It was described in 1934."),
        ("What colour does it have?", "Its back is grey."),
    ],
)
def test_an_answer_in_other_words_is_the_best_sentence(question: str, answer: str) -> None:
    ranking = KnowledgeBase(SILENT, 40).rank([question], 4)
    sentences = [sentence for passage in ranking.passages for sentence in ranking.sentences[passage.id]]
    assert max(sentences, key=lambda sentence: sentence.score).text == answer


def test_of_a_text_of_many_sentences_the_best_by_their_words_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def best(read: int) -> str:
        monkeypatch.setattr("serve_app.grounding.READ", read)
        ranking = KnowledgeBase(SILENT, 5).rank(["How heavy is the shrew?"], 50)
        return max((s for each in ranking.sentences.values() for s in each), key=lambda s: s.score).text

    assert best(3) == best(32) == "It weighs five grams."


def test_a_question_about_something_else_has_no_sentence_above_the_threshold() -> None:
    for question in ("Who won the World Cup in 1998?", "How do I reset my password?", "What does a ticket cost?"):
        ranking = KnowledgeBase(SILENT, 40).rank([question], 4)
        assert all(passage.filling for passage in ranking.passages), question


def test_scores_mean_the_same_in_a_long_text() -> None:
    """Sentences about other things add nothing, and take little away."""
    question = ["How much does the shrew weigh?"]
    alone, amid = (KnowledgeBase(text, 40).rank(question, 1).passages[0] for text in (SILENT, f"{HARBOUR}\n\n{SILENT}"))
    assert alone.text == amid.text
    assert alone.score == pytest.approx(amid.score, abs=0.15)


PIECES = st.sampled_from(
    [
        "A pod is small.",
        "It runs.",
        "Heading",
        "\n\n",
        "\n",
        "What?",
        "No mark here",
        "It weighs 5 grams!",
        "é 🙂",
        "...",
    ]
)
TEXTS = st.lists(PIECES, max_size=25).map(" ".join) | st.text(max_size=150)
DIALOGS = st.lists(PIECES | st.text(max_size=40), min_size=1, max_size=5)


@settings(max_examples=80, deadline=None)
@given(TEXTS, DIALOGS, st.integers(5, 40), st.integers(0, 8))
def test_any_ranking_keeps_its_form(text: str, dialog: list[str], passage_words: int, limit: int) -> None:
    base = KnowledgeBase(text, passage_words)
    ranking = base.rank(dialog, limit)
    ids = [passage.id for passage in ranking.passages]
    assert len(set(ids)) == len(ids) == min(limit, len(base.passages))
    assert set(ids) == set(ranking.sentences)
    for passage in ranking.passages:
        assert len(passage.text.split()) <= passage_words
        assert base.passages[int(passage.id.removeprefix("p"))] == passage.text
        sentences = ranking.sentences[passage.id]
        assert " ".join(sentence.text for sentence in sentences) == passage.text
        assert passage.score == max(sentence.score for sentence in sentences)
        assert all(-1 <= sentence.score <= 1 for sentence in sentences)
    filling = [passage.filling for passage in ranking.passages]
    assert filling == sorted(filling)
    fitting = [passage.score for passage in ranking.passages if not passage.filling]
    assert fitting == sorted(fitting, reverse=True)
    assert ranking == KnowledgeBase(text, passage_words).rank(dialog, limit), "the same again"
    assert ranking.passages[:3] == base.rank(dialog, min(limit, 3)).passages, "a smaller limit only cuts"


def test_the_best_sentence_of_the_best_passage_leads(shipped: KnowledgeBase) -> None:
    ranking = shipped.rank(["Who created Ray?"], 4)
    of_passage = ranking.sentences[ranking.passages[0].id]
    assert ranking.lead in ranking.passages[0].text
    assert all(sentence.score < ranking.passages[0].score for sentence in of_passage if sentence.text != ranking.lead)
    assert KnowledgeBase("", 40).rank(["Who?"], 4).lead == ""


def test_an_id_names_the_passages_place_in_the_text(shipped: KnowledgeBase) -> None:
    for passage in shipped.rank(["What is a cluster of pods?"], 10).passages:
        assert shipped.passages[int(passage.id.removeprefix("p"))] == passage.text


def test_plural_and_case_do_not_matter(shipped: KnowledgeBase) -> None:
    assert texts(shipped, "WHAT IS A POD", limit=1) == texts(shipped, "what is a pod?", limit=1)
    assert texts(shipped, "What are pods?", limit=1) == texts(shipped, "What is a pod?", limit=1)


def test_a_word_that_the_knowledge_does_not_have_makes_an_answer_less_likely(shipped: KnowledgeBase) -> None:
    known, unknown = (
        shipped.rank([question], 1).passages[0] for question in ("What is a pod?", "What is a pod, zxqv?")
    )
    assert known.score > unknown.score


def test_the_same_question_brings_the_same_passages_from_many_threads_too(shipped: KnowledgeBase) -> None:
    questions = ["What is Ray?", "What is a pod?", "Who created it?", "Hello!"] * 25
    expected = [KnowledgeBase(" ".join(shipped.passages), 40).rank([question], 4) for question in questions[:4]]
    with ThreadPoolExecutor(4) as threads:
        ranked = list(threads.map(lambda question: shipped.rank([question], 4), questions))
    assert ranked[:4] * 25 == ranked
    assert [ranking.passages[0].filling for ranking in ranked[:4]] == [e.passages[0].filling for e in expected]
