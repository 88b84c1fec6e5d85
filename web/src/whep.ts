// A WHEP player's side of the protocol (draft-ietf-wish-whep): one session, from offer to DELETE.
// Retrying is the caller's business; this says precisely why a session was not given.

/** Why the server gave no session. Times are in milliseconds. */
export type Refusal =
  | { kind: 'not-live'; retryAfter: number | null }
  | { kind: 'absent' }
  | { kind: 'locked' }
  | { kind: 'no-codec'; words: string }
  | { kind: 'busy'; words: string; retryAfter: number | null }
  | { kind: 'broken'; words: string }
  | { kind: 'unreachable' };

export class Refused extends Error {
  constructor(readonly refusal: Refusal) {
    super(refusal.kind);
  }
}

export interface Listener {
  onTrack(track: MediaStreamTrack): void;
  onConnection(state: RTCPeerConnectionState): void;
}

/** How long the server may take to answer an offer. */
const ANSWER_LIMIT = 10_000;

export class WhepSession {
  readonly peer: RTCPeerConnection;
  /** What the server named in `Link: rel="ice-server"`: of use to the next session, as this one has gathered by then. */
  iceServers: RTCIceServer[] = [];
  /** Takes the choice of a layer: what the server named in `Link: rel="…:layer"`. */
  layerAddress: string | null = null;
  /** Where the server tells this session what happens to it: `Link: rel="…:server-sent-events"`. */
  eventsAddress: string | null = null;
  private resource: string | null = null;
  private left = false;

  constructor(
    private readonly endpoint: string,
    private readonly key: string | null,
    iceServers: RTCIceServer[],
    listener: Listener,
  ) {
    this.peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle', iceServers });
    this.peer.ontrack = ({ track, receiver }) => {
      playAtOnce(receiver);
      if (!this.left) listener.onTrack(track);
    };
    this.peer.onconnectionstatechange = () => {
      if (!this.left) listener.onConnection(this.peer.connectionState);
    };
  }

  /** Sends the offer and takes the answer. Throws `Refused`. */
  async open(): Promise<void> {
    this.peer.addTransceiver('video', { direction: 'recvonly' });
    this.peer.addTransceiver('audio', { direction: 'recvonly' });
    await this.peer.setLocalDescription();
    const offer = this.peer.localDescription?.sdp ?? '';

    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(), ANSWER_LIMIT);
    let response: Response;
    let body: string;
    try {
      response = await fetch(this.endpoint, {
        method: 'POST',
        headers: { 'Content-Type': 'application/sdp', ...this.authorization() },
        body: offer,
        signal: patience.signal,
      });
      body = await response.text();
    } catch {
      throw new Refused({ kind: 'unreachable' });
    } finally {
      clearTimeout(timer);
    }
    if (response.status !== 201) throw new Refused(refusal(response.status, response.headers, body));

    const location = response.headers.get('Location');
    if (location !== null) this.resource = new URL(location, response.url).href;
    const link = response.headers.get('Link') ?? '';
    this.iceServers = parseIceServers(link);
    const address = (extension: string) => {
      const found = parseAddress(link, extension);
      return found === null ? null : new URL(found, response.url).href;
    };
    this.layerAddress = address('layer');
    this.eventsAddress = address('server-sent-events');
    if (this.left) {
      this.remove();
      return;
    }
    await this.peer.setRemoteDescription({ type: 'answer', sdp: separateStreams(body) });
  }

  /** Ends the session here and at the server; also works while the page goes away. */
  leave(): void {
    if (this.left) return;
    this.left = true;
    this.peer.close();
    this.remove();
  }

  private remove(): void {
    if (this.resource === null) return;
    const resource = this.resource;
    this.resource = null;
    fetch(resource, { method: 'DELETE', keepalive: true, headers: this.authorization() }).catch(() => {
      // The server ends a session that falls silent by itself.
    });
  }

  private authorization(): Record<string, string> {
    return this.key === null ? {} : { Authorization: `Bearer ${this.key}` };
  }
}

/** Asks for no buffering beyond what the network needs. */
function playAtOnce(receiver: RTCRtpReceiver): void {
  const knobs = receiver as { jitterBufferTarget?: number | null; playoutDelayHint?: number | null };
  if ('jitterBufferTarget' in receiver) knobs.jitterBufferTarget = 0;
  else if ('playoutDelayHint' in receiver) knobs.playoutDelayHint = 0;
}

/**
 * Puts sound and picture into media streams of their own. Browsers delay the picture to keep a stream's tracks in
 * step, and sound needs the larger buffer; a live picture should not wait for it.
 */
export function separateStreams(sdp: string): string {
  let kind = '';
  return sdp
    .split('\r\n')
    .map((line) => {
      if (line.startsWith('m=')) kind = line.slice(2).split(' ', 1)[0] ?? '';
      return line
        .replace(/^a=msid:(\S+)/, (_, stream: string) => `a=msid:${stream}-${kind}`)
        .replace(/^(a=ssrc:\d+ msid:)(\S+)/, (_, start: string, stream: string) => `${start}${stream}-${kind}`);
    })
    .join('\r\n');
}

/** What an answer other than 201 means. */
export function refusal(status: number, headers: Headers, body: string): Refusal {
  const retryAfter = parseRetryAfter(headers.get('Retry-After'));
  const words = problemWords(headers.get('Content-Type') ?? '', body);
  switch (status) {
    case 401:
    case 403:
      return { kind: 'locked' };
    case 404:
      return { kind: 'absent' };
    case 406:
      return { kind: 'no-codec', words };
    case 409:
      return { kind: 'not-live', retryAfter };
    case 429:
    case 503:
      return { kind: 'busy', words, retryAfter };
    default:
      return { kind: 'broken', words: words || `the server answered ${status}` };
  }
}

/** Seconds of a `Retry-After` header as milliseconds; its date form is not used by any WHEP server. */
export function parseRetryAfter(value: string | null): number | null {
  if (value === null || !/^\d{1,6}$/.test(value.trim())) return null;
  return Number(value) * 1000;
}

/** The words for people in a problem document (RFC 9457), or in a short plain answer. */
function problemWords(contentType: string, body: string): string {
  if (contentType.includes('json')) {
    try {
      const problem = JSON.parse(body) as { title?: unknown; detail?: unknown };
      if (typeof problem.detail === 'string') return problem.detail;
      if (typeof problem.title === 'string') return problem.title;
    } catch {
      return '';
    }
  }
  return contentType.startsWith('text/plain') ? body.trim().slice(0, 300) : '';
}

/** The address of one of the WHEP draft's extensions, such as `layer`, in a `Link` header. */
export function parseAddress(link: string, extension: string): string | null {
  return new RegExp(`<([^>]+)>\\s*;\\s*rel="[^"]*:${extension}"`).exec(link)?.[1] ?? null;
}

/** STUN and TURN servers in a `Link` header. */
export function parseIceServers(link: string): RTCIceServer[] {
  const servers: RTCIceServer[] = [];
  for (const part of link.split(/,\s*(?=<)/)) {
    const url = /^\s*<([^>]+)>/.exec(part)?.[1];
    if (url === undefined || !/;\s*rel="?ice-server"?(\s*;|\s*$)/.test(part)) continue;
    const parameter = (name: string) => new RegExp(`;\\s*${name}="([^"]*)"`).exec(part)?.[1];
    const server: RTCIceServer = { urls: url };
    const username = parameter('username');
    const credential = parameter('credential');
    if (username !== undefined) server.username = username;
    if (credential !== undefined) server.credential = credential;
    servers.push(server);
  }
  return servers;
}
