import { Component, type ComponentChildren } from 'preact';

/** What is shown when a part of the page fails on what the daemon says: once, in words, and the page rests. */
export class Boundary extends Component<{ children: ComponentChildren }, { error: string | null }> {
  override state = { error: null };

  static override getDerivedStateFromError(error: unknown) {
    return { error: error instanceof Error ? error.message : String(error) };
  }

  override render() {
    if (this.state.error === null) return this.props.children;
    return (
      <main>
        <section class="card" role="alert">
          <h2>This page met a bug</h2>
          <p>It may be older than the daemon. The stream is not affected.</p>
          <p class="soft">{this.state.error}</p>
          <button type="button" onClick={() => location.reload()}>Load it again</button>
        </section>
      </main>
    );
  }
}
