// Reads the page again every few seconds while somebody looks at it, and puts in what has changed.
'use strict';
(() => {
  const every = Number(document.body.dataset.every) * 1000;
  if (!every) return;
  const button = document.getElementById('pause');
  const status = document.getElementById('status');
  const live = document.getElementById('live');
  const shown = new Map([...live.children].map((part) => [part.id, part.outerHTML]));
  let paused = false;
  let timer = 0;
  let failed = '';

  const now = () => new Date().toISOString().slice(11, 19) + ' UTC';
  const isSelected = (part) => {
    const selection = getSelection();
    return !selection.isCollapsed && part.contains(selection.anchorNode);
  };

  // What somebody opened stays open, and what has the focus keeps it.
  const restore = (old, part) => {
    const opened = new Set([...old.querySelectorAll('details[open]')].map((one) => one.dataset.key));
    for (const one of part.querySelectorAll('details')) one.open = opened.has(one.dataset.key);
    const focus = document.activeElement;
    if (!old.contains(focus)) return null;
    const key = focus.localName === 'summary' ? focus.parentNode.dataset.key : '';
    return [...part.querySelectorAll('a,input,button,summary')].find((one) =>
      key ? one.parentNode.dataset.key === key : one.localName === focus.localName && one.id === focus.id && one.getAttribute('href') === focus.getAttribute('href'));
  };

  const put = (part, last) => {
    const old = document.getElementById(part.id);
    const text = part.outerHTML;
    if (old && (shown.get(part.id) === text || isSelected(old) || old.querySelector('input:focus'))) return old;
    shown.set(part.id, text);
    if (!old) {
      if (last) last.after(part); else live.prepend(part);
      return part;
    }
    const focus = restore(old, part);
    old.replaceWith(part);
    if (focus) focus.focus({preventScroll: true});
    return part;
  };

  const take = (page) => {
    const parts = [...page.getElementById('live').children];
    let last = null;
    for (const part of parts) last = put(document.adoptNode(part), last);
    const ids = new Set(parts.map((part) => part.id));
    for (const old of [...live.children]) {
      if (!ids.has(old.id)) old.remove();
    }
    document.title = page.title;
    status.replaceChildren(...page.getElementById('status').childNodes);
  };

  const read = async () => {
    const answer = await fetch(location.href, {cache: 'no-store', signal: AbortSignal.timeout(150000)});
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    if (!page.getElementById('live')) throw new Error('it answers ' + answer.status);
    return page;
  };

  const again = async () => {
    clearTimeout(timer);
    if (paused || document.hidden) return;
    try {
      const page = await read();
      failed = '';
      if (!paused) take(page);
    } catch (fault) {
      failed = failed || now();
      status.textContent = 'kubectl-plexus has given no answer since ' + failed + '; it may have ended (' + fault.message + ')';
      status.className = 'stale';
    }
    if (!failed) status.className = '';
    clearTimeout(timer);
    timer = setTimeout(again, every);
  };

  button.hidden = false;
  button.addEventListener('click', () => {
    paused = !paused;
    button.textContent = paused ? 'Go on' : 'Pause';
    if (paused) status.prepend('paused, '); else again();
  });
  document.addEventListener('visibilitychange', again);
  timer = setTimeout(again, every);
})();
