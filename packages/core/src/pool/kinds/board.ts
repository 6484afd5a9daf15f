import type { Selectable } from 'kysely';
import type { FlashTarget } from '../../contracts/flash.ts';
import type { CallOptions } from '../../contracts/runtime.ts';
import { BringupError, invalidInput } from '../../errors.ts';
import type { ResourceRow } from '../../store/schema/pool.ts';
import type { Store } from '../../store/store.ts';
import type { Architecture } from '../../model/architecture.ts';
import type { FirmwareRecord } from '../../model/flash.ts';
import type { BoardHealth } from '../../model/health.ts';
import type { PowerControlConfig, PowerState } from '../../model/power.ts';
import type { Board, BoardAttachments, BoardRegistration, BoardStatus, Connection } from '../../model/resource.ts';
import type { Connectors } from '../connectors.ts';
import { askConsole } from '../console-proof.ts';
import { baseView, type Current, type Look, type ResourceKindModule } from '../kind.ts';
import { probeBoard, type BoardFacts } from '../peripherals.ts';
import { powerCycle, switchOutlet } from '../power-sequence.ts';
import { probeFacts, type CommandRunner, type MachineFacts } from '../probe.ts';
import { validateBoard } from './board-registration.ts';

/** What a shell on the board tells. */
interface Told {
  readonly facts: MachineFacts;
  readonly board: BoardFacts;
}

interface Detected extends Partial<Told> {
  readonly power: PowerState;
}

/** What the pool keeps of a board beside its row. */
export interface BoardProfile extends Partial<Connection>, BoardAttachments {
  readonly name: string;
  readonly boardType: string;
  readonly serialNumber?: string;
  readonly architecture: Architecture;
  readonly peripherals: readonly string[];
  readonly powerControl: PowerControlConfig;
  readonly kernelVersion?: string;
}

/** The trait of a board of this type. */
export function boardTypeTrait(boardType: string): string {
  return `board-type:${boardType}`;
}

/** The trait of a board that has this peripheral. */
export function peripheralTrait(peripheral: string): string {
  return `peripheral:${peripheral}`;
}

/** The trait of a board that runs this firmware. */
export function firmwareTrait(version: string): string {
  return `firmware:${version}`;
}

/** The trait of a board that a flash station can give another firmware. */
export const flashableTrait = 'flashable';

/** Boards: one slot, taken whole. */
export const boardKind: ResourceKindModule<BoardRegistration, Board, Detected, BoardProfile> = {
  kind: 'board',
  title: 'board',
  quietFields: ['labels', 'powerSequence', 'peripherals', 'boardType', 'serialNumber', 'consoleLogin'],
  validate: validateBoard,
  nameOf: (registration) => registration.name,
  labelsOf: (registration) => registration.labels ?? {},

  withoutSecrets({ consoleLogin, ...rest }) {
    const user = consoleLogin?.user;
    return { ...rest, ...(user !== undefined && { consoleLogin: { user } }) };
  },

  async detect(registration, look) {
    const told = await tellOf(registration, look);
    const architecture = checkArchitecture(registration, told);
    return { ...told, power: await proveAttachments(registration, architecture, look) };
  },

  describe(registration, { facts, board, power }, connectors) {
    const { labels: _labels, consoleLogin: _login, powerControl = byHand, ...rest } = registration;
    const architecture = facts?.architecture ?? registration.architecture;
    if (architecture === undefined) throw unknownArchitecture();
    const peripherals = [...new Set([...(registration.peripherals ?? []), ...(board?.peripherals ?? [])])];
    const serialNumber = registration.serialNumber ?? board?.serialNumber;
    const health: BoardHealth = { connectivity: 'healthy', powerStatus: power };
    return {
      name: registration.name,
      profile: {
        ...rest,
        ...connectorNames(registration, connectors),
        ...(serialNumber !== undefined && { serialNumber }),
        ...(facts !== undefined && { kernelVersion: facts.kernelVersion }),
        architecture,
        peripherals,
        powerControl: withConnector(powerControl, connectors),
      },
      // Of a board that only its console is known of, nothing but the slot can be asked for.
      capacity: {
        slots: 1,
        cpuCores: facts?.cpuCores ?? 0,
        memoryMb: facts?.memoryMb ?? 0,
        storageGb: facts?.freeGb ?? 0,
      },
      architectures: [architecture],
      health,
      traits: [
        boardTypeTrait(registration.boardType),
        ...peripherals.map(peripheralTrait),
        ...(registration.flashStationId === undefined ? [] : [flashableTrait]),
      ],
    };
  },

  current: assignments,

  view(row, current = {}) {
    const profile = JSON.parse(row.profile) as BoardProfile;
    const health = row.health === null ? unknownHealth : (JSON.parse(row.health) as BoardHealth);
    const firmware = row.firmware === null ? undefined : (JSON.parse(row.firmware) as FirmwareRecord);
    return {
      ...baseView(row),
      ...profile,
      ...(firmware !== undefined && {
        firmware,
        currentFirmwareVersion: firmware.version,
        lastFlashTimestamp: firmware.flashedAt,
      }),
      status: boardStatus(row),
      health,
      ...current,
    };
  },
};

const byHand: PowerControlConfig = { method: 'manual' };
const unknownHealth: BoardHealth = { connectivity: 'unknown', powerStatus: 'unknown' };

/** Who holds each board. */
async function assignments(
  db: Pick<Store['db'], 'selectFrom'>,
  rows: readonly Selectable<ResourceRow>[],
): Promise<Current> {
  const held = await db
    .selectFrom('reservations')
    .select(['resource_id', 'holder'])
    .where(
      'resource_id',
      'in',
      rows.map(({ id }) => id),
    )
    .execute();
  return new Map(held.map(({ resource_id, holder }) => [resource_id, { assignedTestId: holder }]));
}

/** What the board says of itself, by SSH or else on its console; undefined when no shell answers there. */
async function tellOf(registration: BoardRegistration, look: Look): Promise<Partial<Told>> {
  const { connectors, signal, patiently, clock, random } = look;
  const { name, hostname, serialDevice } = registration;
  if (hostname !== undefined) {
    await using session = await patiently(() => connectors.openShell({ ...registration, hostname }, { signal }));
    const told = await lookAround(session, signal);
    // Its own proof is the shell; the console must at least be there.
    if (serialDevice !== undefined)
      await (await connectors.openConsole(registration, { signal }))[Symbol.asyncDispose]();
    return told;
  }
  await using console = await patiently(() => connectors.openConsole(registration, { signal }));
  const { consoleLogin: login } = registration;
  const asked = await askConsole({ name, console, login, clock, random, signal }, (shell) => lookAround(shell, signal));
  return asked.found ?? {};
}

async function lookAround(shell: CommandRunner, signal: AbortSignal): Promise<Told> {
  // A board may be able to write nowhere but there.
  const facts = await probeFacts(shell, '/tmp', { signal });
  return { facts, board: await probeBoard(shell, { signal }) };
}

function checkArchitecture({ name, architecture }: BoardRegistration, { facts }: Partial<Told>): Architecture {
  const found = facts?.architecture ?? architecture;
  if (found === undefined) throw unknownArchitecture();
  if (architecture === undefined || architecture === found) return found;
  throw new BringupError('architecture-mismatch', `${name} was said to be ${architecture}, but it is ${found}`, {
    details: { claimed: architecture, detected: found },
  });
}

function unknownArchitecture(): BringupError {
  return invalidInput('the board', [
    { path: 'architecture', message: 'must be stated: no shell answers on the console that could be asked' },
  ]);
}

/** Proves that the outlet can be read and the flash station answers. Gives the state of the power. */
async function proveAttachments(
  registration: BoardRegistration,
  architecture: Architecture,
  { id, connectors, clock, signal, patiently, isHeld }: Look,
): Promise<PowerState> {
  const { powerControl = byHand, powerSequence, flashStationId } = registration;
  const switched = connectors.powerName(powerControl) !== undefined;
  if (flashStationId !== undefined) {
    const board = { ...registration, id, architecture };
    const outlet = {
      board: board.name,
      open: (call: CallOptions) => connectors.openPower(powerControl, call),
      guard: async () => {
        if (await isHeld()) throw inUse(board.name);
      },
    };
    const restart: FlashTarget['powerCycle'] = (call) => {
      const bounds = { clock, signal: call?.signal ?? signal };
      return powerCycle(powerSequence, bounds, (wanted) => switchOutlet(wanted, { ...outlet, ...bounds }));
    };
    const options = { signal, ...(switched && { powerCycle: restart }) };
    await (await patiently(() => connectors.openFlash(board, options)))[Symbol.asyncDispose]();
  }
  if (!switched) return 'unknown';
  await using outlet = await patiently(() => connectors.openPower(powerControl, { signal }));
  return await outlet.state({ signal });
}

function inUse(name: string): BringupError {
  return new BringupError(
    'conflict',
    `the flash station of ${name} has to restart it, and it is in use; change this once it is free`,
    { retryable: true, details: { board: name } },
  );
}

/** The connectors it is reached by from now on, whatever the lab's first ones will be. */
function connectorNames(
  { hostname, serialDevice, flashStationId, ...given }: BoardRegistration,
  connectors: Connectors,
): { shell?: string; console?: string; flash?: string } {
  return {
    ...(hostname !== undefined && { shell: connectors.shellName(given.shell) }),
    ...(serialDevice !== undefined && { console: connectors.consoleName(given.console) }),
    ...(flashStationId !== undefined && { flash: connectors.flashName(given.flash) }),
  };
}

function withConnector(config: PowerControlConfig, connectors: Connectors): PowerControlConfig {
  const power = connectors.powerName(config);
  return power === undefined ? config : { ...config, power };
}

/** What a board's row says of its status. */
export function boardStatus(row: { maintenance: number; status: string; slots_used: number }): BoardStatus {
  if (row.maintenance === 1) return 'maintenance';
  switch (row.status) {
    case 'offline':
    case 'flashing':
    case 'recovery':
    case 'unknown':
      return row.status;
  }
  return row.slots_used > 0 ? 'in_use' : 'available';
}
