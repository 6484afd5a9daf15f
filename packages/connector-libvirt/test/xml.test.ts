import type { VmSpec } from '@bringup/core';
import { XMLParser } from 'fast-xml-parser';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatVersion, parseCapabilities } from '../src/capabilities.ts';
import { domainXml } from '../src/domain-xml.ts';
import { parseTags, tagsElement } from '../src/tags.ts';
import { child, element, readXml, text, writeXml } from '../src/xml.ts';

const spec: VmSpec = {
  name: 'vm-1',
  architecture: 'x86_64',
  cpus: 2,
  memoryMb: 256,
  kernel: '/k/bzImage',
  commandLine: 'console=ttyS0',
  tags: {},
};
const parts = { accelerator: 'tcg', consoleLog: '/w/vm-1/console.log', overlay: undefined } as const;
// What XML can carry: no controls, no unpaired surrogates, not the two non-characters.
const printable = fc
  .string({ unit: 'binary' })
  .filter((value) => value.isWellFormed() && !/[\u0000-\u001f\ufffe\uffff]/.test(value));

function domain(xml: string): Record<string, unknown> {
  const parser = new XMLParser({
    ignoreAttributes: false,
    attributeNamePrefix: '@',
    parseTagValue: false,
    trimValues: false,
  });
  return (parser.parse(xml) as { domain: Record<string, unknown> }).domain;
}

describe('the description of a VM', () => {
  test('text from outside never becomes markup', () => {
    const os = domain(domainXml({ ...spec, commandLine: `</cmdline><init>/bin/sh</init> a="b" &amp; 'c'` }, parts))[
      'os'
    ];
    expect(os).toMatchObject({ cmdline: `</cmdline><init>/bin/sh</init> a="b" &amp; 'c'` });
    expect(os).not.toHaveProperty('init');
  });

  test('any printable text survives as element and as attribute', () => {
    fc.assert(
      fc.property(printable, (value) => {
        const root = child(readXml(writeXml(element('a', { b: value }, [element('c', {}, [value])]))), 'a');
        expect(text(root, 'b')).toBe(value);
        expect(text(child(root, 'c')) ?? '').toBe(value);
      }),
      { numRuns: 300 },
    );
  });

  test('characters that XML has no way to say are refused', () => {
    expect(() => writeXml(element('a', {}, ['\u0000']))).toThrow('characters that XML');
    expect(() => writeXml(element('a', { b: '\ud800' }))).toThrow('characters that XML');
  });

  test('a reset, a power-off or a panic ends the VM', () => {
    const written = domain(domainXml(spec, parts));
    expect(written).toMatchObject({ on_reboot: 'destroy', on_poweroff: 'destroy', on_crash: 'destroy' });
  });

  test('guest writes go to the overlay, never to the root file system', () => {
    const rootfs = { path: '/a/root.img', format: 'raw' } as const;
    const { devices } = domain(domainXml({ ...spec, rootfs }, { ...parts, overlay: '/w/vm-1/rootfs.qcow2' })) as {
      devices: unknown;
    };
    expect(devices).toMatchObject({
      disk: { source: { '@file': '/w/vm-1/rootfs.qcow2' }, backingStore: { source: { '@file': '/a/root.img' } } },
    });
  });

  test.for([
    ['arm64', 'aarch64', 'virt'],
    ['armv7', 'armv7l', 'virt'],
    ['riscv64', 'riscv64', 'virt'],
    ['x86_64', 'x86_64', 'pc'],
  ] as const)('%s is %s on %s to libvirt', ([architecture, arch, machine]) => {
    expect(domain(domainXml({ ...spec, architecture }, parts))['os']).toMatchObject({
      type: { '@arch': arch, '@machine': machine },
    });
  });
});

describe('tags', () => {
  test('of any text come back from the metadata', () => {
    const tags = fc.dictionary(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }));
    fc.assert(
      fc.property(tags, (value) => {
        expect(parseTags(writeXml(tagsElement(value)))).toEqual({ ...value });
      }),
      { numRuns: 300 },
    );
  });

  test.for(['<bringup:tags xmlns:bringup="urn:bringup:vm:1">[1]</bringup:tags>', '<other/>', 'no xml at all', ''])(
    'that somebody else wrote as %j are none',
    (xml) => expect(parseTags(xml)).toEqual({}),
  );
});

describe('capabilities', () => {
  const xml = `<capabilities>
    <host><cpu><arch>x86_64</arch></cpu></host>
    <guest><os_type>hvm</os_type><arch name='i686'><domain type='qemu'/><domain type='kvm'/></arch></guest>
    <guest><os_type>hvm</os_type><arch name='x86_64'><wordsize>64</wordsize><domain type='qemu'/><domain type='kvm'/></arch></guest>
    <guest><os_type>hvm</os_type><arch name='aarch64'><domain type='qemu'/></arch></guest>
    <guest><os_type>exe</os_type><arch name='riscv64'><domain type='lxc'/></arch></guest>
  </capabilities>`;

  test('name the architectures with an emulator, and where KVM is offered', () => {
    expect(parseCapabilities(xml)).toEqual({ host: 'x86_64', emulated: ['x86_64', 'arm64'], kvmOffered: ['x86_64'] });
  });

  test('that say nothing are nothing', () => {
    expect(parseCapabilities('<capabilities/>')).toEqual({ host: undefined, emulated: [], kvmOffered: [] });
  });

  test('a version number is major, minor and patch', () => {
    expect(formatVersion('QEMU', 7_002_022)).toBe('QEMU 7.2.22');
  });
});
