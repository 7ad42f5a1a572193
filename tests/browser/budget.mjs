/** How many bytes a cold visit of a page may take. One that shows a whole listing may take a tenth more. */
export const budget = (page) => (/\/(listing|tests)\.html/.test(page) ? 110_000 : 100_000);
