import { Link, useNavigate, type LinkProps } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { useShortcuts } from '../lib/shortcuts';

export interface TabLink {
  label: ReactNode;
  name: string;
  to: LinkProps['to'];
  exact?: boolean;
}

/** Views of a page as links; the digits 1 … 9 open the first nine. `search` is carried from view to view. */
export function TabLinks({
  label,
  tabs,
  params,
  search,
}: {
  label: string;
  tabs: TabLink[];
  params: Record<string, string>;
  search?: object;
}) {
  const navigate = useNavigate();
  useShortcuts(
    tabs.slice(0, 9).map((tab, index) => ({
      keys: String(index + 1),
      label: `Open ${tab.name}`,
      group: 'Views',
      run: () => void navigate({ to: tab.to, params, search } as never),
    })),
  );
  return (
    <nav className="tabs" aria-label={label}>
      {tabs.map((tab) => (
        <Link
          key={tab.name}
          {...({ to: tab.to, params, search } as LinkProps)}
          className="tab"
          activeOptions={{ exact: tab.exact ?? false, includeSearch: false }}
          activeProps={{ 'data-active': 'true', 'aria-current': 'page' } as object}
        >
          {tab.label}
        </Link>
      ))}
    </nav>
  );
}
