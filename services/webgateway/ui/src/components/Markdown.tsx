import { lazy, Suspense } from 'react';
import './markdown.css';

const Rendered = lazy(() => import('./MarkdownText'));

/** Markdown of users. HTML in it stays text, addresses are sanitised; shown as text until the renderer is loaded. */
export function Markdown({ text }: { text: string }) {
  return (
    <div className="markdown">
      <Suspense fallback={<p style={{ whiteSpace: 'pre-wrap' }}>{text}</p>}>
        <Rendered text={text} />
      </Suspense>
    </div>
  );
}
