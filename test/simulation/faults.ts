import type { Fault, Moment } from './plan.ts';
import type { Actor, Stage } from './stage.ts';

/** All names of a machine's devices. */
function devicesOf(machine: string): readonly string[] {
  return machine.startsWith('board') ? [machine, `/dev/serial/${machine}`, `station-${machine}`] : [machine];
}

/** Has a fault happen in its time. */
export function strike(simulation: Stage, fault: Fault): void {
  const { clock, network, history, world } = simulation;
  const between = (atMs: number, forMs: number, begin: () => void, end: () => void): void => {
    at(simulation, atMs, () => {
      history.add('world', `${fault.kind} begins`, { ...fault });
      begin();
      clock.timer(forMs, () => {
        history.add('world', `${fault.kind} ends`, { fault: fault.id });
        end();
      });
    });
  };
  switch (fault.kind) {
    case 'crash':
      return when(simulation, fault.controller, fault.moment, (controller) => controller.crash(fault.downMs));
    case 'pause':
      return when(simulation, fault.controller, fault.moment, (controller) => controller.pause(fault.forMs));
    case 'store-away':
      return when(simulation, fault.controller, fault.moment, (controller) => controller.loseStore(fault.forMs));
    case 'cut': {
      let cut = simulation.controllers[fault.controller]?.lab?.process;
      return between(
        fault.atMs,
        fault.forMs,
        () => {
          cut = simulation.controllers[fault.controller]?.lab?.process;
          if (cut !== undefined) network.cut(cut, devicesOf(fault.machine), fault.how);
        },
        () => {
          if (cut !== undefined) network.heal(cut, devicesOf(fault.machine));
        },
      );
    }
    case 'reboot':
      at(simulation, fault.atMs, () => {
        history.add('world', 'reboot', { machine: fault.machine });
        world.reboot(fault.machine);
      });
      return;
    case 'slow':
      return between(
        fault.atMs,
        fault.forMs,
        () => void (network.latencyMs = fault.latencyMs),
        () => void (network.latencyMs = simulation.plan.latencyMs),
      );
    case 'storage-full':
      return between(
        fault.atMs,
        fault.forMs,
        () => world.storage.setCapacity(0),
        () => world.storage.setCapacity(undefined),
      );
    case 'disk-full': {
      const { fs } = world.shell.host(fault.machine);
      return between(
        fault.atMs,
        fault.forMs,
        () => void (fs.capacityBytes = fs.usedBytes + fault.leftBytes),
        () => void (fs.capacityBytes = Infinity),
      );
    }
    case 'store-full': {
      const controller = simulation.controllers[fault.controller];
      if (controller !== undefined) controller.full = { from: fault.statement, times: fault.times };
      return;
    }
    case 'clock-jump': {
      const controller = simulation.controllers[fault.controller];
      return between(
        fault.atMs,
        fault.forMs,
        () => controller?.jump(fault.byMs),
        () => {
          // Once everything was healed its clock is right already.
          if (controller !== undefined && controller.aheadMs !== 0) controller.jump(-fault.byMs);
        },
      );
    }
    case 'deaf': {
      const controller = simulation.controllers[fault.controller];
      const set = (deaf: boolean) => (): void => {
        if (controller !== undefined) controller.deaf = deaf;
      };
      return between(fault.atMs, fault.forMs, set(true), set(false));
    }
  }
}

/** Nothing goes wrong any more once everything was healed. */
function at(simulation: Stage, ms: number, begin: () => void): void {
  simulation.clock.timer(ms, () => {
    if (!simulation.healed) begin();
  });
}

function when(simulation: Stage, index: number, moment: Moment, act: (controller: Actor) => void): void {
  const controller = simulation.controllers[index];
  if (controller === undefined) return;
  const spring = (): void => act(controller);
  if ('atMs' in moment) at(simulation, moment.atMs, spring);
  else if ('statement' in moment) controller.traps.statement.push({ at: moment.statement, spring });
  else {
    const { call, when: side, name } = moment;
    controller.traps.call.push({ at: call, when: side, spring, ...(name !== undefined && { name }) });
  }
}
