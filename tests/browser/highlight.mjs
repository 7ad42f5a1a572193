// The source of theme/highlight.js: the highlighter that mdBook's script expects,
// with the languages of this book and no others. mdBook's own has forty, four
// times as much to load, and Protocol Buffers is not among them.
//
// After a change, in the root of the book:
//
//   NODE_PATH=target/ci/node_modules target/ci/node_modules/.bin/esbuild \
//     tests/browser/highlight.mjs --bundle --minify --outfile=theme/highlight.js

import hljs from 'highlight.js/lib/core';
import go from 'highlight.js/lib/languages/go';
import http from 'highlight.js/lib/languages/http';
import json from 'highlight.js/lib/languages/json';
import plaintext from 'highlight.js/lib/languages/plaintext';
import protobuf from 'highlight.js/lib/languages/protobuf';
import rust from 'highlight.js/lib/languages/rust';
import toml from 'highlight.js/lib/languages/ini';
import yaml from 'highlight.js/lib/languages/yaml';

/*! highlight.js 10.7.3, Copyright (c) 2006 Ivan Sagalaev, BSD 3-Clause licence */

// Terminals have no highlighting of their own: reader.js marks what is typed.
for (const [name, language] of Object.entries({ console: plaintext, go, http, json, protobuf, rust, text: plaintext, toml, yaml })) {
  hljs.registerLanguage(name, language);
}
window.hljs = hljs;
