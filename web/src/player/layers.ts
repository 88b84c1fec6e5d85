// The choice among a stream's layers: the box's own sizes, or a publisher's simulcast. Without layers there is no menu.

import { element } from './page';

export class LayerMenu {
  private readonly menu = element<HTMLSelectElement>('layer');
  private address: string | null = null;
  private stream: string | null = null;

  constructor() {
    this.menu.addEventListener('change', () => void this.choose(this.menu.value));
  }

  /** A session began: asks which layers its stream has, the box's own without a name. `address` takes the choice. */
  async begin(stream: string | null, address: string | null): Promise<void> {
    this.end();
    this.stream = stream;
    this.address = address;
    await this.refresh();
  }

  /** Asks anew; what was chosen stays chosen as long as it is there. */
  async refresh(): Promise<void> {
    const { address } = this;
    if (address === null) return;
    try {
      const state: unknown = await (await fetch('/api/status')).json();
      if (this.address === address) this.offer(layersOf(state, this.stream));
    } catch {
      // The picture plays without a menu, too.
    }
  }

  end(): void {
    this.address = null;
    this.menu.replaceChildren();
    this.menu.hidden = true;
  }

  private offer(layers: string[]): void {
    const names = layers.length < 2 ? [] : layers;
    const offered = Array.from(this.menu.options, ({ value }) => value).slice(1);
    // A menu that is open must not change under the pointer for nothing.
    if (names.join('\n') === offered.join('\n')) return;
    const chosen = this.menu.value;
    this.menu.replaceChildren(new Option('Best', ''), ...names.map((name) => new Option(name, name)));
    this.menu.value = names.includes(chosen) ? chosen : '';
    this.menu.hidden = names.length === 0;
  }

  private async choose(layer: string): Promise<void> {
    if (this.address === null) return;
    const answer = await fetch(this.address, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ mediaId: '1', encodingId: layer }),
    }).catch(() => null);
    if (answer?.ok === true) return;
    // What is shown is what the server does.
    this.menu.value = '';
    await this.refresh();
  }
}

/** The layers of a stream in `/api/status`, the best one first; without a name, of the first stream, the box's own. */
export function layersOf(state: unknown, stream: string | null): string[] {
  const streams = (state as { streams?: { name?: string; layers?: string[] }[] } | null)?.streams ?? [];
  const watched = stream === null ? streams[0] : streams.find(({ name }) => name === stream);
  return watched?.layers ?? [];
}
