import { createElement } from 'react';
import { renderToStaticMarkup } from 'react-dom/server';
import { expect, test } from 'vitest';
import MarkdownText from '../src/components/MarkdownText';

const html = (text: string) => renderToStaticMarkup(createElement(MarkdownText, { text }));

test('Markdown is rendered, with tables', () => {
  expect(html('There are **42** of `them`.')).toBe(
    '<p>There are <strong>42</strong> of <code>them</code>.</p>',
  );
  expect(html('|a|b|\n|-|-|\n|1|2|')).toContain('<td>2</td>');
});

test('what a text could harm with is left out', () => {
  expect(html('<script>alert(1)</script><b onclick="x()">b</b>')).not.toMatch(/<script|<b[ >]/);
  expect(html('[click](javascript:alert(1))')).not.toContain('javascript:');
  expect(html('![](https://example.org/pixel.png)')).not.toContain('<img');
  expect(html('[site](https://example.org)')).toContain('rel="noreferrer noopener"');
});
