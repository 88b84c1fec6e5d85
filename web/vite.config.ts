import { defineConfig } from 'vite';

// Everything lands in dist/: pages at its top, what they load under assets/ with a content hash in the name. Nothing
// is inlined, because the server's content security policy allows no inline script or style.
export default defineConfig({
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: { player: 'index.html', panel: 'panel.html', room: 'room.html' } },
  },
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
  server: { proxy: { '/api': { target: 'http://127.0.0.1:8899', ws: true } } },
});
