/** Read-only code with line numbers; CodeMirror is loaded with the view that needs it. */
import { python } from '@codemirror/lang-python';
import { HighlightStyle, syntaxHighlighting } from '@codemirror/language';
import { EditorState } from '@codemirror/state';
import { EditorView, keymap, lineNumbers } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { useEffect, useRef } from 'react';

const theme = EditorView.theme({
  '&': { height: '100%', backgroundColor: 'var(--surface)', color: 'var(--text)', fontSize: '12.5px' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '20px' },
  '.cm-gutters': {
    backgroundColor: 'var(--surface)',
    color: 'var(--text-3)',
    border: 'none',
    paddingLeft: '8px',
  },
  '.cm-content': { padding: '8px 0' },
  '.cm-line.cm-target': { backgroundColor: 'var(--selected)' },
  '&.cm-focused': { outline: 'none' },
});

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.controlKeyword, tags.operatorKeyword], color: 'var(--code-keyword)' },
  { tag: [tags.string, tags.special(tags.string)], color: 'var(--code-string)' },
  { tag: [tags.number, tags.bool, tags.null], color: 'var(--code-number)' },
  { tag: tags.comment, color: 'var(--text-3)', fontStyle: 'italic' },
  {
    tag: [tags.definition(tags.function(tags.variableName)), tags.function(tags.variableName)],
    color: 'var(--code-name)',
  },
  { tag: [tags.className, tags.definition(tags.className)], color: 'var(--code-name)' },
  { tag: tags.meta, color: 'var(--code-number)' },
]);

export function CodeEditor({ text, label }: { text: string; label: string }) {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!host.current) return;
    const view = new EditorView({
      parent: host.current,
      state: EditorState.create({
        doc: text,
        extensions: [
          lineNumbers(),
          python(),
          syntaxHighlighting(colours),
          theme,
          keymap.of([]),
          EditorState.readOnly.of(true),
          EditorView.contentAttributes.of({ 'aria-label': label, 'aria-readonly': 'true' }),
        ],
      }),
    });
    return () => view.destroy();
  }, [text, label]);
  return <div ref={host} style={{ flex: 1, minHeight: 0, overflow: 'hidden' }} />;
}
