// Whether the server sends this session a picture, as it tells it by server-sent events. Asked for only while there is reason to:
// a connection for each viewer all the time would be one too many.

export class Told {
  private address: string | null = null;
  private source: EventSource | null = null;

  constructor(private readonly heard: (paused: boolean) => void) {}

  /** Listens there from now on, or nowhere. */
  follow(address: string | null): void {
    if (address === this.address) return;
    this.address = address;
    this.source?.close();
    this.source = null;
    if (address === null) return;
    const source = new EventSource(address);
    source.addEventListener('picture', ({ data }: MessageEvent<string>) => {
      const paused = pausedIn(data);
      if (this.source === source && paused !== null) this.heard(paused);
    });
    this.source = source;
  }
}

/** None where it says something else. */
export function pausedIn(data: string): boolean | null {
  try {
    const { paused } = JSON.parse(data) as { paused?: unknown };
    return typeof paused === 'boolean' ? paused : null;
  } catch {
    return null;
  }
}
