import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { localShell } from '@bringup/core';
import type { Hypervisor } from '@bringup/core';
import { libvirt } from '@bringup/connector-libvirt';
import { startLibvirtd } from '../fixtures/libvirtd.ts';
import type { Bench } from './bench.ts';
import { alternate, percentile, printTable, timed } from './bench.ts';

const exec = promisify(execFile);
const domainCount = 100;
const callsPerRound = 200;
const listsPerRound = 20;

function definition(index: number): string {
  return `<domain type='qemu'><name>bench-${index}</name><memory unit='MiB'>32</memory><os><type arch='x86_64' machine='pc'>hvm</type></os></domain>`;
}

/** libvirt over its own RPC, against its own client. */
export const bench: Bench = {
  name: 'connectors',
  describe: 'the state of 100 domains over a local libvirt socket, against one virsh process (ms)',
  async run() {
    await using daemon = await startLibvirtd();
    await using shells = localShell();
    await using connector = libvirt({ socketPath: daemon.socketPath });
    const host = { hostname: 'localhost', username: 'root' };
    const shell = await shells.connect(host);
    await using hypervisor = await connector.connect({ host, workspace: daemon.workspace }, shell);
    const virsh = (...argv: readonly string[]): Promise<{ readonly stdout: string }> =>
      exec('virsh', ['-c', daemon.uri, ...argv]);

    const define = async (index: number): Promise<void> => {
      const xml = `${daemon.workspace}/bench-${index}.xml`;
      await shell.exec(['tee', xml], { stdin: definition(index) });
      await virsh('define', xml);
    };

    await define(0);
    const call = await alternate({ ours: () => medianCallMs(hypervisor) });
    for (let index = 1; index < domainCount; index += 1) await define(index);
    const list = await alternate({
      ours: async () => {
        const ms = await timed(async () => {
          for (let i = 0; i < listsPerRound; i += 1) expectAll((await hypervisor.listVms()).length);
        });
        return ms / listsPerRound;
      },
      virsh: () =>
        timed(async () => expectAll((await virsh('list', '--all')).stdout.match(/bench-\d+ +shut off/g)?.length ?? 0)),
    });
    console.log(`list with states and one domain's state, p50: ${call.ours.toFixed(3)} ms`);
    printTable(
      ['operation', 'ours', 'virsh', 'ratio'],
      [[`state of ${domainCount} domains`, list.ours, list.virsh, list.virsh / list.ours]],
    );
    return { libvirt_call_p50_ms: call.ours, libvirt_vs_virsh: list.virsh / list.ours };
  },
};

function expectAll(count: number): void {
  if (count !== domainCount) throw new Error(`${count} domains instead of ${domainCount}`);
}

/** A sample is three calls: all domains with their states, then one looked up and its state. */
async function medianCallMs(hypervisor: Hypervisor): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < callsPerRound; i += 1) {
    times.push(await timed(async () => [await hypervisor.listVms(), await hypervisor.getVm('bench-0')]));
  }
  return percentile(times, 50);
}
