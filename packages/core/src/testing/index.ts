export { fakeClock, type FakeClock, type PendingTimer } from './clock.ts';
export { seededRandom } from './random.ts';
export { shellContract, type ShellContractFixture, type ShellContractOptions } from './shell-contract.ts';
