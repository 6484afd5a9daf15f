import * as v from 'valibot';
import type { InputIssue } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { architectureField, connectionFields, countField, labelsField, nameField } from '../../model/fields.ts';
import { powerMethods, type PowerControlConfig, type PowerMethod, type PowerSequence } from '../../model/power.ts';
import type { BoardRegistration } from '../../model/resource.ts';
import { Secret } from '../../model/secret.ts';
import { validate } from '../../model/validate.ts';

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
  hostname: v.exactOptional(nameField),
  serialDevice: v.exactOptional(nonEmpty),
  serialBaudRate: v.exactOptional(countField),
  console: v.exactOptional(nonEmpty),
  powerControl: v.exactOptional(powerControlSchema),
  powerSequence: v.exactOptional(powerSequenceSchema),
  flashStationId: v.exactOptional(nonEmpty),
  flash: v.exactOptional(nonEmpty),
  name: nameField,
  boardType: nonEmpty,
  serialNumber: v.exactOptional(v.string('must be a string')),
  architecture: v.exactOptional(architectureField),
  peripherals: v.exactOptional(v.array(v.string('must be a string'))),
  consoleLogin: v.exactOptional(
    v.strictObject({
      user: v.exactOptional(nonEmpty),
      password: v.exactOptional(v.instance(Secret, 'must be a Secret')),
    }),
  ),
  labels: v.exactOptional(labelsField),
});

/** Which fields a method of switching the power needs, and which others it may have. */
const powerFields: Readonly<
  Record<PowerMethod, { readonly needs: readonly string[]; readonly may: readonly string[] }>
> = {
  usb_hub: { needs: ['usbHubPort'], may: [] },
  network_pdu: { needs: ['pduAddress', 'pduOutlet'], may: [] },
  gpio_relay: { needs: ['gpioPin'], may: ['relayAddress'] },
  manual: { needs: [], may: [] },
};

const allPowerFields = ['usbHubPort', 'pduAddress', 'pduOutlet', 'gpioPin', 'relayAddress'];

/** Fields that mean nothing without another one. */
const belongsTo: readonly (readonly [string, string])[] = [
  ['ipAddress', 'hostname'],
  ['sshPort', 'hostname'],
  ['sshUsername', 'hostname'],
  ['sshKeyPath', 'hostname'],
  ['shell', 'hostname'],
  ['serialBaudRate', 'serialDevice'],
  ['console', 'serialDevice'],
  ['consoleLogin', 'serialDevice'],
  ['flash', 'flashStationId'],
];

/** Checks a board's registration. @throws `invalid-input` with one issue per field. */
export function validateBoard(input: unknown): BoardRegistration {
  return validate('the board', registrationSchema, input, crossFieldIssues);
}

function crossFieldIssues(input: Readonly<Record<string, unknown>>): InputIssue[] {
  const issues: InputIssue[] = [];
  if (input['hostname'] === undefined && input['serialDevice'] === undefined) {
    issues.push({ path: 'hostname', message: 'a board is reached by its hostname, its serialDevice, or both' });
  }
  for (const [field, owner] of belongsTo) {
    if (input[field] !== undefined && input[owner] === undefined) {
      issues.push({ path: field, message: `needs a ${owner}` });
    }
  }
  return [...issues, ...powerIssues(input['powerControl'])];
}

function powerIssues(power: unknown): InputIssue[] {
  if (typeof power !== 'object' || power === null) return [];
  const given = power as Readonly<Record<string, unknown>>;
  const method = powerMethods.find((name) => name === given['method']);
  if (method === undefined) return [];
  const { needs, may } = powerFields[method];
  return [
    ...needs
      .filter((field) => given[field] === undefined)
      .map((field) => ({ path: `powerControl.${field}`, message: `${method} needs it` })),
    ...allPowerFields
      .filter((field) => given[field] !== undefined && !needs.includes(field) && !may.includes(field))
      .map((field) => ({ path: `powerControl.${field}`, message: `has no meaning for ${method}` })),
  ];
}
