import { parseTap, toJUnitXml, watchBoot } from '@bringup/core';

const log = `[    1.204120] Run /init as init process
KTAP version 1
1..1
    KTAP version 1
    # Subtest: gpio
    1..2
    ok 1 lines_are_named
    not ok 2 an_edge_raises_an_interrupt
not ok 1 gpio
`;

async function* output(): AsyncIterable<Uint8Array> {
  yield Buffer.from(log);
}

// Did it boot? Panics, oopses, hung tasks and silent resets are told apart.
const boot = await watchBoot(output(), { success: ['Run /init'] });
console.log(boot.type); // booted

// Which tests passed?
const report = parseTap(log);
console.log(`${report.totals.pass} of ${report.totals.total} passed`); // 1 of 2 passed
console.log(toJUnitXml(report, { name: 'board-7' }));
