// pnpm lab:soak NAME ROUNDS   does the same thing over and over on real daemons and kernels; exits non-zero unless
//                             every round went well and nothing is left. Its last line is "N passed, M failed".
import { soakBoard } from './board.ts';

const soaks: Readonly<
  Record<string, (rounds: number) => Promise<{ readonly passed: number; readonly failed: number }>>
> = { board: soakBoard };

const [name = '', rounds = '50'] = process.argv.slice(2);
const soak = Object.hasOwn(soaks, name) ? soaks[name] : undefined;
if (soak === undefined || !/^[1-9]\d{0,5}$/.test(rounds)) {
  console.error(`usage: pnpm lab:soak NAME [ROUNDS]; NAME is one of: ${Object.keys(soaks).join(', ')}`);
  process.exit(2);
}
const { passed, failed } = await soak(Number(rounds));
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
