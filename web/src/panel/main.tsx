// The control panel: shows what the daemon says, and tells it what to do.

import { render } from 'preact';
import { Boundary } from './boundary';
import { Panel } from './panel';

const root = document.getElementById('panel');
if (root !== null) render(<Boundary><Panel /></Boundary>, root);
