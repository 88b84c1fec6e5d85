import { expect, test } from 'vitest';
import { parseIceServers, parseRetryAfter, refusal, separateStreams } from '../src/whep';

test('answers other than 201 mean what the drafts say', () => {
  const problem = { 'Content-Type': 'application/problem+json' };
  const of = (status: number, headers: Record<string, string> = {}, body = '') =>
    refusal(status, new Headers(headers), body);
  expect(of(409, { 'Retry-After': '2' })).toEqual({ kind: 'not-live', retryAfter: 2000 });
  expect(of(409)).toEqual({ kind: 'not-live', retryAfter: null });
  expect(of(404)).toEqual({ kind: 'absent' });
  expect(of(401)).toEqual({ kind: 'locked' });
  expect(of(403)).toEqual({ kind: 'locked' });
  expect(of(406, problem, '{"title":"no common codec","detail":"the stream is AV1"}'))
    .toEqual({ kind: 'no-codec', words: 'the stream is AV1' });
  expect(of(406, problem, '{"title":"no common codec"}')).toEqual({ kind: 'no-codec', words: 'no common codec' });
  expect(of(406, { 'Content-Type': 'application/sdp' }, 'v=0')).toEqual({ kind: 'no-codec', words: '' });
  expect(of(503, { 'Retry-After': '5' })).toEqual({ kind: 'busy', words: '', retryAfter: 5000 });
  expect(of(500, problem, 'not json')).toEqual({ kind: 'broken', words: 'the server answered 500' });
});

test('Retry-After is read as seconds or not at all', () => {
  expect(parseRetryAfter('3')).toBe(3000);
  expect(parseRetryAfter(' 0 ')).toBe(0);
  for (const odd of [null, '', '-1', '1.5', 'soon', 'Wed, 21 Oct 2015 07:28:00 GMT', '99999999']) {
    expect(parseRetryAfter(odd)).toBeNull();
  }
});

test('ICE servers come from Link, other relations are passed over', () => {
  const link =
    '<stun:stun.example.net>; rel="ice-server", ' +
    '<turn:turn.example.net?transport=udp>; rel="ice-server"; username="u"; credential="c,d"; credential-type="password", ' +
    '</api/sse/1>; rel="urn:ietf:params:whep:ext:core:server-sent-events"; events="layers"';
  expect(parseIceServers(link)).toEqual([
    { urls: 'stun:stun.example.net' },
    { urls: 'turn:turn.example.net?transport=udp', username: 'u', credential: 'c,d' },
  ]);
  expect(parseIceServers('')).toEqual([]);
});

test('sound and picture get media streams of their own, and nothing else changes', () => {
  const answer = [
    'v=0', 'a=msid-semantic:WMS live', 'm=audio 9 UDP/TLS/RTP/SAVPF 111', 'a=msid:live voice',
    'a=ssrc:1 msid:live voice', 'm=video 9 UDP/TLS/RTP/SAVPF 96', 'a=msid:live picture', 'a=ssrc:2 cname:x', '',
  ].join('\r\n');
  expect(separateStreams(answer).split('\r\n')).toEqual([
    'v=0', 'a=msid-semantic:WMS live', 'm=audio 9 UDP/TLS/RTP/SAVPF 111', 'a=msid:live-audio voice',
    'a=ssrc:1 msid:live-audio voice', 'm=video 9 UDP/TLS/RTP/SAVPF 96', 'a=msid:live-video picture',
    'a=ssrc:2 cname:x', '',
  ]);
});
