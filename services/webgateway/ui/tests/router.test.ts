import { expect, test, vi } from 'vitest';

test('every address has one page', async () => {
  // The router is built at the start of every page: a doubled route would leave all of them empty.
  const nothing = () => undefined;
  vi.stubGlobal('window', {
    matchMedia: () => ({ matches: false, addEventListener: nothing }),
    addEventListener: nothing,
    localStorage: { getItem: () => null },
  });
  vi.stubGlobal('document', { documentElement: { dataset: {}, style: {} }, addEventListener: nothing });
  vi.stubGlobal('navigator', { userAgent: '' });
  vi.stubGlobal('localStorage', { getItem: () => null });
  const { createAppRouter } = await import('../src/router');
  vi.unstubAllGlobals();
  const paths = Object.values(createAppRouter().routesById).map((route) => route.fullPath as string);
  expect(paths).toContain('/dags/$dagId/simulate');
  expect(paths.length).toBeGreaterThan(25);
});
