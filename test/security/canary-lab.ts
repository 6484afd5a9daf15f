import { join } from 'node:path';
import {
  createLab,
  emailNotifier,
  localShell,
  s3ArtifactStorage,
  Secret,
  sqlite,
  webhookNotifier,
  type Lab,
  type Logger,
  type ShellConnector,
} from '@bringup/core';
import { memoryConsole, MemoryLine } from '@bringup/core/testing';
import { libvirt } from '@bringup/connector-libvirt';
import { netio, pdu } from '@bringup/connector-pdu';
import { ssh } from '@bringup/connector-ssh';
import { canary, hidden } from '../fixtures/canaries.ts';

/** Where a {@link openCanaryLab} lies, and who answers it. */
export interface CanaryLabOptions {
  readonly path: string;
  readonly folder: string;
  /** Of an HTTP server of this machine that is each service at once. */
  readonly port: number;
  readonly logger: Logger;
}

/** A lab of real connectors, in which everything that is given a credential fails. */
export async function openCanaryLab({ path, port, folder, logger }: CanaryLabOptions): Promise<{
  readonly lab: Lab;
  /** Registers what can't be reached: a build server, a host, and two boards. */
  readonly registrations: (lab: Lab) => readonly (() => Promise<unknown>)[];
  readonly line: MemoryLine;
}> {
  const url = `http://127.0.0.1:${port}`;
  const line = new MemoryLine('board');
  const consoles = memoryConsole();
  consoles.attach('/dev/ttyS0', line);
  void refuseLogins(line);
  const shell = ssh({
    configFiles: [],
    knownHosts: [join(folder, 'known_hosts')],
    hostKeys: 'accept-new',
    agent: null,
    logger,
  });
  const lab = await createLab({
    store: sqlite({ path }),
    artifacts: s3ArtifactStorage({
      endpoint: url,
      bucket: 'artifacts',
      credentials: {
        accessKeyId: 'lab',
        secretAccessKey: hidden('S3Connection.credentials.secretAccessKey'),
        sessionToken: hidden('S3Connection.credentials.sessionToken'),
      },
    }),
    connectors: {
      shell: [withPassword(shell), localShell()],
      hypervisor: libvirt({ sasl: { username: 'lab', password: hidden('LibvirtAccount.password') } }),
      console: consoles,
      power: pdu({ devices: { rack: netio({ host: `127.0.0.1:${port}`, password: hidden('HttpAccess.password') }) } }),
    },
    notifiers: [
      webhookNotifier({
        url: new Secret(`${url}/hooks/${canary('WebhookOptions.url')}`),
        secret: hidden('WebhookOptions.secret'),
        headers: { authorization: hidden('WebhookOptions.headers') },
      }),
      emailNotifier({
        host: '127.0.0.1',
        port,
        auth: { user: 'lab', password: hidden('EmailOptions.auth.password') },
        from: 'lab@example.org',
        to: 'ada@example.org',
      }),
    ],
    logger,
  });
  const machine = { ipAddress: '127.0.0.1', sshPort: port, workspace: '/nowhere' };
  const board = { boardType: 'evaluation', architecture: 'arm64', serialDevice: '/dev/ttyS0' } as const;
  const consoleLogin = { password: hidden('BoardRegistration.consoleLogin.password') };
  const powerControl = { method: 'network_pdu', pduAddress: 'rack', pduOutlet: '1' } as const;
  const registrations = ({ buildServers, hosts, boards }: Lab): readonly (() => Promise<unknown>)[] => [
    () => buildServers.registerServer({ hostname: 'builder', ...machine }),
    () => hosts.registerHost({ hostname: 'host', ...machine }),
    () => boards.registerBoard({ name: 'locked', ...board, consoleLogin }),
    () => boards.registerBoard({ name: 'powered', ...board, powerControl }),
  ];
  return { lab, registrations, line };
}

/** Registrations name no passwords: a program that needs them has a connector of its own. */
function withPassword(inner: ShellConnector): ShellConnector {
  return {
    name: 'ssh',
    connect: (target, options) =>
      inner.connect(
        { ...target, password: hidden('ShellTarget.password'), passphrase: hidden('ShellTarget.passphrase') },
        options,
      ),
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
  };
}

/** A console that repeats the password it is told. */
async function refuseLogins(line: MemoryLine): Promise<void> {
  line.say('login: ');
  let typed = '';
  let asked = false;
  for await (const chunk of line.input()) {
    typed += Buffer.from(chunk).toString();
    for (let end = typed.indexOf('\n'); end >= 0; end = typed.indexOf('\n')) {
      const word = typed.slice(0, end).trim();
      typed = typed.slice(end + 1);
      if (asked) line.say(`${word}: Login incorrect\r\nlogin: `);
      else line.say(word === '' ? '\r\nlogin: ' : '\r\nPassword: ');
      asked = !asked && word !== '';
    }
  }
}
