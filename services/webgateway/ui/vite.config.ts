import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';
import { mockGateway } from './dev/mock.ts';

const gateway = process.env.SPINNER_BASE_URL ?? 'http://127.0.0.1:8080';
const mocked = process.env.SPINNER_MOCK === '1';

export default defineConfig({
  plugins: [react(), ...(mocked ? [mockGateway()] : [])],
  build: { target: 'es2022', chunkSizeWarningLimit: 1600 },
  server: {
    host: '127.0.0.1',
    ...(mocked ? {} : { proxy: { '/api': { target: gateway, changeOrigin: true } } }),
  },
  preview: { host: '127.0.0.1' },
});
