// What mdBook's pages lack for keyboards, for screen readers and for copying commands. It adds
// to a page that is complete without it.
'use strict';

(() => {
  // All words that a reader meets, in one place for a translation.
  const words = {
    skip: 'Skip to the text',
    linkToListing: 'Link to this listing',
    fold: 'Show or hide what is below',
  };

  const find = (selector) => document.querySelector(selector);
  const each = (selector, act) => document.querySelectorAll(selector).forEach(act);
  const make = (name, properties) => Object.assign(document.createElement(name), properties);

  // ---- Names and landmarks, and a way past them ----

  const content = find('#mdbook-content');
  content.tabIndex = -1; // or Safari scrolls to the text and leaves the focus behind
  document.body.prepend(make('a', { className: 'skip-link', href: '#mdbook-content', textContent: words.skip }));
  find('#mdbook-menu-bar').role = 'banner';
  find('#mdbook-search-wrapper')?.setAttribute('role', 'search');
  find('#mdbook-sidebar a.active')?.setAttribute('aria-current', 'page');

  // Fields without a name: the search, and the boxes of a list of tasks.
  each('#mdbook-searchbar', (field) => { field.ariaLabel = field.placeholder; });
  each('main li input[type="checkbox"]', (box) => { box.ariaLabel = box.closest('li').textContent.trim(); });

  // ---- The sidebar ----

  // Its switch is a label, which Tab passes by and which may not say `expanded`. mdBook goes on
  // to work with the label, so a button stands in for it and repeats what mdBook says of it.
  const label = find('#mdbook-sidebar-toggle');
  const button = make('button', { className: label.className, type: 'button', title: label.title });
  button.append(...label.cloneNode(true).childNodes);
  button.setAttribute('aria-controls', 'mdbook-sidebar');
  button.addEventListener('click', () => label.click());
  const repeat = () => button.setAttribute('aria-expanded', label.getAttribute('aria-expanded'));
  new MutationObserver(repeat).observe(label, { attributeFilter: ['aria-expanded'] });
  repeat();
  label.hidden = true;
  label.after(button);

  // Its arrows are links to nowhere, which Tab passes by. mdBook makes some of them only once
  // the page is there.
  document.addEventListener('DOMContentLoaded', () => each('.chapter-fold-toggle', (arrow) => {
    Object.assign(arrow, { role: 'button', tabIndex: 0, ariaLabel: words.fold });
    arrow.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' && event.key !== ' ') return;
      event.preventDefault(); // Space would scroll the page
      arrow.click();
    });
  }));

  // ---- What comes next, by its title: an arrow alone promises nothing ----

  each('.mobile-nav-chapters', (link) => {
    const chapter = [...document.querySelectorAll('#mdbook-sidebar a')].find(({ href }) => href === link.href);
    if (!chapter) return;
    link.append(make('span', { textContent: chapter.textContent }));
    link.ariaLabel += `: ${chapter.textContent}`;
  });

  // ---- Search ----

  // mdBook's index has the words that stand between blanks in English. A method's name in code and
  // a word in Chinese stand between other characters: those are looked for in the text itself, and
  // follow what the index finds, in the order of the book. Of several words, the index finds each:
  // what holds them side by side comes first, then what holds all of them. mdBook shows 30.
  const { Index } = window.elasticlunr ?? {};
  const load = Index?.load;
  if (load) Index.load = (data) => {
    const index = load.call(Index, data);
    const { docs } = index.documentStore;
    const texts = new Map(Object.entries(docs).map(([ref, { title, body }]) => [ref, `${title} ${body}`.toLowerCase().replace(/\s+/g, ' ')]));
    const search = index.search;
    index.search = (query, options) => {
      const results = search.call(index, query, options);
      const known = new Set(results.map(({ ref }) => ref));
      const words = query.toLowerCase().trim().split(/\s+/);
      const holdsAll = (text) => words.every((word) => text.includes(word));
      for (const [ref, text] of texts) {
        if (known.has(ref) || !holdsAll(text)) continue;
        // The teaser begins a few words before the first of them.
        const { body } = docs[ref];
        const start = body.lastIndexOf(' ', body.toLowerCase().indexOf(words[0]) - 40) + 1;
        results.push({ ref, score: 0, doc: { ...docs[ref], body: body.slice(start) } });
      }
      if (words.length === 1) return results;
      const rank = ({ ref }) => texts.get(ref).includes(words.join(' ')) + holdsAll(texts.get(ref));
      return results.sort((one, other) => rank(other) - rank(one));
    };
    return index;
  };

  // ---- Tables ----

  // The theme lays a table out as blocks on narrow screens. Browsers then forget that it is a table,
  // unless its parts say so.
  const roles = { table: 'table', thead: 'rowgroup', tbody: 'rowgroup', tr: 'row', th: 'columnheader', td: 'cell' };
  each('main table', (table) => {
    for (const element of [table, ...table.querySelectorAll(Object.keys(roles))]) element.role = roles[element.localName];
    for (const row of table.tBodies[0].rows) {
      for (const cell of row.cells) cell.dataset.column = table.rows[0].cells[cell.cellIndex].textContent;
    }
  });

  // ---- Listings ----

  each('figure.listing[id] > figcaption', (caption) => {
    const link = make('a', { className: 'permalink', href: `#${caption.parentElement.id}`, textContent: '#' });
    link.ariaLabel = words.linkToListing;
    caption.append(link);
  });

  // What scrolls sideways must take the focus, or no key scrolls it. Whether it does changes with
  // the window, with a file that is unfolded and with lines that are shown.
  const sizes = new ResizeObserver((changes) => changes.forEach(({ target }) => {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute('tabindex');
  }));
  each('main pre > code, main .table-wrapper, main .picture', (element) => sizes.observe(element));

  // ---- Terminals ----

  // A command goes on over the lines that end in a backslash.
  const typed = /^\$ ((?:.*\\\n)*.*)|^\^C$/gm;

  each('main code.language-console', (code) => {
    const text = code.textContent;
    const searched = [...code.querySelectorAll('mark')].map((mark) => mark.textContent);
    const parts = [];
    let end = 0;
    for (const match of text.matchAll(typed)) {
      const [all, command] = match;
      parts.push(text.slice(end, match.index));
      if (command === undefined) parts.push(make('span', { className: 'key', textContent: all }));
      else {
        parts.push(make('span', { className: 'prompt', textContent: '$ ' }));
        parts.push(make('span', { className: 'command', textContent: command }));
      }
      end = match.index + all.length;
    }
    // In place of the highlighter's guess, which takes any output line with a `>` or a `#` in it
    // for a prompt.
    code.replaceChildren(...parts, text.slice(end));
    // What a search has marked before.
    if (searched.length > 0) new window.Mark(code).mark(searched);
  });

  // mdBook asks this global function of its own what a copy button copies. Of a terminal that is
  // the commands alone: with the prompt and the output, a paste would fail line by line.
  const textOf = window.playground_text;
  window.playground_text = (block, hidden) => {
    const commands = [...block.querySelectorAll('.language-console > .command')];
    return commands.map(({ textContent }) => textContent).join('\n') || textOf(block, hidden);
  };

  // "Copied!" is only to be seen: say it, too. mdBook has copied when the click arrives here.
  const status = make('div', { className: 'status', role: 'status' });
  document.body.append(status);
  document.addEventListener('click', ({ target }) => {
    const copied = target.closest('.clip-button')?.querySelector('.tooltiptext');
    if (copied) status.textContent = copied.textContent;
  });
})();
