import ReactMarkdown, { type Components } from 'react-markdown';
import remarkGfm from 'remark-gfm';

const PLUGINS = [remarkGfm];
/** A user's picture would tell its server who looks. */
const LEFT_OUT = ['img'];
const PARTS: Components = {
  a: ({ href, children }) => (
    <a className="link" href={href} target="_blank" rel="noreferrer noopener">
      {children}
    </a>
  ),
};

export default function MarkdownText({ text }: { text: string }) {
  return (
    <ReactMarkdown remarkPlugins={PLUGINS} disallowedElements={LEFT_OUT} components={PARTS}>
      {text}
    </ReactMarkdown>
  );
}
