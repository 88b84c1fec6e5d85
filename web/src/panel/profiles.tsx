import { Outcome, useCommand } from './command';
import type { Profile } from './state';
import { bits, codec, sentence, size } from './words';

/** What the encoder could be told to do, and whether this box can. */
export function Profiles({ profiles, active, controls }: {
  profiles: Profile[] | null; active: string; controls: boolean;
}) {
  const { busy, said, run } = useCommand();
  return (
    <section class="card" aria-labelledby="profiles-title">
      <h2 id="profiles-title">Profiles</h2>
      <Outcome said={said} busy={busy} />
      {profiles === null ? <p class="soft">Asking what runs here …</p> : (
        <ul class="profiles">
          {sorted(profiles, active).map((profile) => {
            const on = profile.name === active;
            return (
              <li key={profile.name} class="profile" data-active={on} data-runs={profile.runs}>
                <h3>{profile.name}</h3>
                <p class="soft">{profile.summary}</p>
                <p class="chips">
                  <span>{codec(profile.codec)}</span>
                  {profile.size !== null && <span>{size(profile.size)}</span>}
                  {profile.framerate !== null && <span>{profile.framerate} fps</span>}
                  <span>{bits(profile.bitrate)}</span>
                  {profile.encoder !== null && <span>{profile.encoder}</span>}
                </p>
                <div class="foot">
                  {profile.runs
                    ? <span class="life" data-tone="good">runs here</span>
                    : <details><summary>Does not run here</summary><ul>{profile.missing.map(({ message, hint }) => <li key={message}>{sentence(message)}{hint !== null && <span class="hint">{sentence(hint)}</span>}</li>)}</ul></details>}
                  {on ? <strong class="now">on now</strong> : profile.runs && (
                    <button type="button" disabled={!controls} aria-disabled={busy !== null} aria-label={`Switch to ${profile.name}`}
                      onClick={() => void run('/api/control/switch', { profile: profile.name })}>Switch</button>
                  )}
                </div>
              </li>
            );
          })}
        </ul>
      )}
    </section>
  );
}

/** The one that is on first, then what runs here. */
export function sorted(profiles: Profile[], active: string): Profile[] {
  const rank = ({ name, runs }: Profile) => (name === active ? 0 : runs ? 1 : 2);
  return [...profiles].sort((one, other) => rank(one) - rank(other));
}
