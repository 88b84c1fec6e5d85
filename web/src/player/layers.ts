// The choice among a stream's layers (simulcast). Without layers there is no menu.

import { element } from './page';

export class LayerMenu {
  private readonly menu = element<HTMLSelectElement>('layer');
  private address: string | null = null;

  constructor() {
    this.menu.addEventListener('change', () => void this.choose(this.menu.value));
  }

  /** A session began: asks once which layers its stream has. `address` takes the choice. */
  async begin(stream: string | null, address: string | null): Promise<void> {
    this.end();
    if (stream === null || address === null) return;
    this.address = address;
    try {
      const state: unknown = await (await fetch('/api/status')).json();
      if (this.address === address) this.offer(layersOf(state, stream));
    } catch {
      // The picture plays without a menu, too.
    }
  }

  end(): void {
    this.address = null;
    this.menu.hidden = true;
  }

  private offer(layers: string[]): void {
    this.menu.replaceChildren(new Option('Best', ''), ...layers.map((layer) => new Option(layer, layer)));
    this.menu.hidden = layers.length < 2;
  }

  private async choose(layer: string): Promise<void> {
    if (this.address === null) return;
    const answer = await fetch(this.address, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ mediaId: '1', encodingId: layer }),
    }).catch(() => null);
    // What is shown is what the server does.
    if (answer?.ok !== true) this.menu.value = '';
  }
}

/** The layers of a stream in `/api/status`, the best one first. */
export function layersOf(state: unknown, stream: string): string[] {
  const streams = (state as { streams?: { name?: string; layers?: string[] }[] } | null)?.streams ?? [];
  return streams.find(({ name }) => name === stream)?.layers ?? [];
}
