import { consoleContract } from '@bringup/core/testing';
import { lineServerFixture } from './support/line-server.ts';

consoleContract({ name: 'raw TCP', setup: () => lineServerFixture({ protocol: 'tcp' }) });
consoleContract({ name: 'telnet', setup: () => lineServerFixture({ protocol: 'telnet' }) });
consoleContract({
  name: 'telnet without binary',
  setup: () => lineServerFixture({ protocol: 'telnet', refuses: [0] }),
});
consoleContract({ name: 'RFC 2217', setup: () => lineServerFixture({ protocol: 'rfc2217' }) });
