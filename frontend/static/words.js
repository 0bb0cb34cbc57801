// What the scripts say, in the page's language: the server's templates hold it.

export const words = JSON.parse(document.body.dataset.words ?? "{}");

/** The words with the values in place of their {names}; a number as the language writes it. */
export const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name].toLocaleString(document.documentElement.lang));
