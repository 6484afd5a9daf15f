import * as v from 'valibot';
import { BringupError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { Architecture } from '../../model/architecture.ts';
import type { BoardHealth } from '../../model/health.ts';
import { powerMethods, type PowerControlConfig, type PowerSequence } from '../../model/power.ts';
import type { Board, BoardAttachments, BoardRegistration, BoardStatus, Connection } from '../../model/resource.ts';
import { validate } from '../../model/validate.ts';
import { baseView, type ResourceKindModule } from '../kind.ts';
import { probeFacts } from '../probe.ts';
import { architectureField, connectionFields, countField, labelsField, nameField } from '../../model/fields.ts';

const nonEmpty = v.pipe(v.string('must be a string'), v.nonEmpty('must not be empty'));

const powerControlSchema: v.GenericSchema<unknown, PowerControlConfig> = v.strictObject({
  method: v.picklist(powerMethods, `must be one of ${powerMethods.join(', ')}`),
  power: v.exactOptional(nonEmpty),
  usbHubPort: v.exactOptional(nonEmpty),
  pduAddress: v.exactOptional(nonEmpty),
  pduOutlet: v.exactOptional(nonEmpty),
  gpioPin: v.exactOptional(nonEmpty),
  relayAddress: v.exactOptional(nonEmpty),
});

const milliseconds = v.pipe(
  v.number('must be a number of milliseconds'),
  v.minValue(0, 'must not be negative'),
  v.maxValue(limits.powerStepMaxMs, `must not be more than ${limits.powerStepMaxMs}`),
);

const powerSequenceSchema: v.GenericSchema<unknown, PowerSequence> = v.strictObject({
  beforeOffMs: v.exactOptional(milliseconds),
  offMs: v.exactOptional(milliseconds),
  afterOnMs: v.exactOptional(milliseconds),
  recoveryMs: v.exactOptional(milliseconds),
});

const registrationSchema: v.GenericSchema<unknown, BoardRegistration> = v.strictObject({
  ...connectionFields,
  serialDevice: v.exactOptional(nonEmpty),
  serialBaudRate: v.exactOptional(countField),
  console: v.exactOptional(nonEmpty),
  powerControl: v.exactOptional(powerControlSchema),
  powerSequence: v.exactOptional(powerSequenceSchema),
  flashStationId: v.exactOptional(nonEmpty),
  flash: v.exactOptional(nonEmpty),
  name: nameField,
  boardType: v.pipe(v.string('must be a string'), v.nonEmpty('must not be empty')),
  serialNumber: v.exactOptional(v.string()),
  architecture: v.exactOptional(architectureField),
  peripherals: v.exactOptional(v.array(v.string())),
  labels: v.exactOptional(labelsField),
});

/** What the pool keeps of a board beside its row. */
export interface BoardProfile extends Partial<Connection>, BoardAttachments {
  readonly name: string;
  readonly boardType: string;
  readonly serialNumber?: string;
  readonly architecture: Architecture;
  readonly peripherals: readonly string[];
  readonly powerControl: PowerControlConfig;
  readonly currentFirmwareVersion?: string;
  readonly lastFlashTimestamp?: number;
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
export const boardKind: ResourceKindModule<BoardRegistration, Board, BoardProfile> = {
  kind: 'board',
  title: 'board',
  validate: (input) => validate('the board', registrationSchema, input),
  nameOf: (registration) => registration.name,
  labelsOf: (registration) => registration.labels ?? {},

  async probe(registration, connectors, options) {
    const { hostname } = registration;
    if (hostname === undefined) throw new BringupError('unsupported', `${registration.name} has no hostname`);
    await using session = await connectors.openShell({ ...registration, hostname }, options);
    const facts = await probeFacts(session, undefined, options);
    if (registration.architecture !== undefined && registration.architecture !== facts.architecture) {
      throw new BringupError(
        'architecture-mismatch',
        `${registration.name} was said to be ${registration.architecture}, but it is ${facts.architecture}`,
        { details: { claimed: registration.architecture, detected: facts.architecture } },
      );
    }
    const { labels: _labels, powerControl = { method: 'manual' }, ...rest } = registration;
    const power = connectors.powerName(powerControl);
    const peripherals = registration.peripherals ?? [];
    return {
      name: registration.name,
      profile: {
        ...rest,
        shell: connectors.shellName(registration.shell),
        architecture: facts.architecture,
        peripherals,
        powerControl: { ...powerControl, ...(power !== undefined && { power }) },
        ...(registration.serialDevice !== undefined && { console: connectors.consoleName(registration.console) }),
        ...(registration.flashStationId !== undefined && { flash: connectors.flashName(registration.flash) }),
      },
      capacity: { slots: 1, cpuCores: facts.cpuCores, memoryMb: facts.memoryMb, storageGb: facts.freeGb },
      architectures: [facts.architecture],
      traits: [
        boardTypeTrait(registration.boardType),
        ...peripherals.map(peripheralTrait),
        ...(registration.flashStationId === undefined ? [] : [flashableTrait]),
      ],
    };
  },

  view(row) {
    const profile = JSON.parse(row.profile) as BoardProfile;
    const health = row.health === null ? unknownHealth : (JSON.parse(row.health) as BoardHealth);
    return { ...baseView(row), ...profile, status: boardStatus(row), health };
  },
};

const unknownHealth: BoardHealth = { connectivity: 'unknown', powerStatus: 'unknown' };

function boardStatus(row: { maintenance: number; status: string; slots_used: number }): BoardStatus {
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
