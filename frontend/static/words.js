// What the scripts say, in the page's language: the server's templates hold it.

export const words = JSON.parse(document.body.dataset.words ?? "{}");

/** The words with a number in them. */
export const withNumber = (text, number) => text.replace("{number}", number.toLocaleString(document.documentElement.lang));
