import '@fontsource-variable/inter/wght.css';
import '@fontsource-variable/jetbrains-mono/wght.css';
import './styles/tokens.css';
import './styles/base.css';
import './styles/controls.css';
import './styles/phone.css';
import { MutationCache, QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { RouterProvider } from '@tanstack/react-router';
import { Tooltip } from 'radix-ui';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { StateSprite } from './components/StateIcon';
import { toastProblem } from './components/Toasts';
import { handleKey } from './lib/shortcuts';
import './lib/theme';
import { ApiProblem } from './queries/client';
import { startLive } from './queries/live';
import { createAppRouter } from './router';

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      refetchOnWindowFocus: false,
      retry: (failures, error) =>
        failures < 2 && !(error instanceof ApiProblem && error.status >= 400 && error.status < 500),
    },
  },
  mutationCache: new MutationCache({
    onError: (error, _variables, _context, mutation) => {
      const meta = mutation.meta as { handled?: boolean; action?: string } | undefined;
      if (!meta?.handled) toastProblem(meta?.action ?? 'Not done', error);
    },
  }),
});

const router = createAppRouter();
startLive(queries);
window.addEventListener('keydown', handleKey);

const root = document.getElementById('root');
if (!root) throw new Error('index.html has no #root');
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <Tooltip.Provider delayDuration={250} skipDelayDuration={300}>
        <StateSprite />
        <RouterProvider router={router} />
      </Tooltip.Provider>
    </QueryClientProvider>
  </StrictMode>,
);
