// Keeps the page up to date and sends its forms without leaving it. Without this script the page does the same by
// itself, only that it has to be loaded anew.

import { Diagram } from './diagram.js';

const POLL_MS = 1000;
const STREAM_AGAIN_MS = 30000;
const QUIET_MS = 6000;

const body = document.body;
let after = body.dataset.after;

// What the page says about itself.

const live = document.getElementById('live');

function tell(text, kind) {
  live.textContent = text;
  live.className = `live ${kind}`;
}

const said = document.getElementById('said');
let quiet = 0;

export function say(text, isBad) {
  said.textContent = text;
  said.classList.toggle('bad', isBad);
  clearTimeout(quiet);
  // What went wrong stays until something else is said.
  if (!isBad) quiet = setTimeout(() => { said.textContent = ''; }, QUIET_MS);
}

// Panels: the server draws them, and what is new in them is put in the place of what was there. What a person is just
// doing stays: the focus, what was typed, what was opened.

const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.dataset.key ?? node.id : '');

function morphChildren(old, fresh) {
  const known = new Map([...old.children].filter(keyOf).map((child) => [keyOf(child), child]));
  let at = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const key = keyOf(child);
    let match = key ? known.get(key) : at;
    if (match && !key && keyOf(match)) match = null;
    if (match && match.nodeName === child.nodeName) {
      if (match !== at) old.insertBefore(match, at);
      morph(match, child);
      at = match.nextSibling;
    } else {
      old.insertBefore(child, at);
      if (key && child.classList?.contains('post')) child.classList.add('fresh');
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  // Whoever is choosing is not disturbed.
  if (old.nodeName === 'SELECT' && old === document.activeElement) return;
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== 'open') old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  morphChildren(old, fresh);
}

async function show({ panel, html }) {
  const element = document.querySelector(`[data-panel="${panel}"]`);
  if (!element) return;
  const pinned = body.dataset.pinned;
  if (panel === 'acceptors' && pinned) {
    const answer = await fetch(`/panel/acceptors?instance=${encodeURIComponent(pinned)}`);
    if (!answer.ok) return;
    html = await answer.text();
  }
  const template = document.createElement('template');
  template.innerHTML = html;
  const posts = element.querySelector('.posts');
  const follows = !posts || isAtEnd(posts);
  morphChildren(element, template.content);
  if (follows) scrollToEnd(element);
  if (panel === 'cluster') diagram?.meet([...element.querySelectorAll('tr[data-key]')].map(({ dataset }) => Number(dataset.key)));
}

// The newest posts stand at the end: whoever looks at them goes on to.

const isAtEnd = (posts) => posts.scrollTop + posts.clientHeight >= posts.scrollHeight - 8;

function scrollToEnd(element) {
  element.querySelectorAll('.posts').forEach((posts) => { posts.scrollTop = posts.scrollHeight; });
}

// News: a stream of events, or, where there is none to be had, asking once a second.

let polling = 0;
let diagram = null;
const place = document.getElementById('diagram');
if (place) {
  place.querySelector('.tools').hidden = false;
  diagram = new Diagram(place, place.dataset.nodes.split(' ').map(Number));
}
const address = () => `/live?after=${encodeURIComponent(after)}${diagram ? '&trace=1' : ''}`;

let source = null;

function listen() {
  source?.close();
  source = new EventSource(address());
  source.addEventListener('open', () => tell('● live', 'on'));
  source.addEventListener('panel', (event) => {
    after = event.lastEventId || after;
    show(JSON.parse(event.data));
  });
  source.addEventListener('trace', (event) => {
    after = event.lastEventId || after;
    diagram?.add(JSON.parse(event.data));
  });
  source.addEventListener('error', ({ target }) => {
    if (target.readyState === EventSource.CLOSED) {
      // Refused: there are too many streams. A broken one is opened anew by the browser.
      clearTimeout(polling);
      poll();
      setTimeout(() => { if (target === source) { clearTimeout(polling); listen(); } }, STREAM_AGAIN_MS);
    } else {
      tell('○ not connected, trying again', 'off');
    }
  });
}

// A browser has six connections to one server: pages that nobody sees must not take them all.
document.addEventListener('visibilitychange', () => {
  clearTimeout(polling);
  if (document.hidden) source?.close();
  else listen();
});
addEventListener('pagehide', () => source?.close());

async function poll() {
  try {
    const answer = await fetch(address(), { headers: { Accept: 'application/json' } });
    if (!answer.ok) throw new Error(answer.statusText);
    const news = await answer.json();
    after = news.id;
    news.panels.forEach(show);
    diagram?.add(news.trace);
    tell('◐ live, once a second', 'on');
  } catch {
    tell('○ not connected, trying again', 'off');
  }
  polling = setTimeout(poll, POLL_MS);
}

// Forms.

export async function send(action, fields) {
  const answer = await fetch(action, {
    method: 'POST',
    body: new URLSearchParams(fields),
    headers: { Accept: 'application/json' },
  });
  const text = await answer.text();
  try {
    const { ok, message } = JSON.parse(text);
    return { ok, message };
  } catch {
    return { ok: false, message: text || answer.statusText };
  }
}

document.addEventListener('submit', async (event) => {
  const form = event.target;
  if (!('live' in form.dataset)) return;
  event.preventDefault();
  const fields = new FormData(form, event.submitter);
  const buttons = [...form.querySelectorAll('button')];
  buttons.forEach((button) => { button.disabled = true; });
  let done = { ok: false, message: 'This node does not answer; whether it was done is not known.' };
  try {
    done = await send(form.getAttribute('action'), fields);
  } catch {
    // Said below.
  }
  buttons.forEach((button) => { button.disabled = false; });
  say(done.message, !done.ok);
  if (!done.ok) return;
  const details = form.closest('details');
  if (details) {
    details.open = false;
    details.querySelector('summary').focus();
  }
  form.querySelectorAll('[data-clear], input[name="entry"], input[name="value"]').forEach((input) => { input.value = ''; });
});

scrollToEnd(document);
listen();
