import { XMLParser } from 'fast-xml-parser';
import { BringupError, escapeXml, invalidInput, isXmlText } from '@bringup/core';

/** An XML element to be written. */
export interface XmlElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly children: readonly (XmlElement | string)[];
}

/** Makes an element; undefined children are left out, strings are text. */
export function element(
  name: string,
  attributes: Readonly<Record<string, string | number>> = {},
  children: readonly (XmlElement | string | undefined)[] = [],
): XmlElement {
  return { name, attributes, children: children.filter((child) => child !== undefined) };
}

function escape(text: string): string {
  if (!isXmlText(text)) {
    throw invalidInput('VM', [
      { path: '', message: `${JSON.stringify(text)} holds characters that XML can't express` },
    ]);
  }
  return escapeXml(text);
}

/** The element as text. @throws `invalid-input` for characters that XML can't hold. */
export function writeXml({ name, attributes, children }: XmlElement): string {
  const attributeText = Object.entries(attributes)
    .map(([key, value]) => ` ${key}="${escape(String(value))}"`)
    .join('');
  if (children.length === 0) return `<${name}${attributeText}/>`;
  const content = children.map((child) => (typeof child === 'string' ? escape(child) : writeXml(child))).join('');
  return `<${name}${attributeText}>${content}</${name}>`;
}

const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: '@',
  textNodeName: '#text',
  removeNSPrefix: true,
  parseTagValue: false,
  parseAttributeValue: false,
  trimValues: false,
  alwaysCreateTextNode: true,
});

/** A parsed element: attributes under `@name`, text under `#text`, child elements under their names. */
export type XmlNode = { readonly [key: string]: unknown };

/** Parses what the daemon sent. @throws `hypervisor-failed` for what is no XML. */
export function readXml(text: string): XmlNode {
  try {
    return parser.parse(text) as XmlNode;
  } catch (error) {
    throw new BringupError('hypervisor-failed', 'libvirt sent XML that cannot be read.', { cause: error });
  }
}

/** The child elements of that name: none, one or many. */
export function children(node: XmlNode | undefined, name: string): readonly XmlNode[] {
  const value = node?.[name];
  const list = Array.isArray(value) ? value : [value];
  return list.filter((item): item is XmlNode => typeof item === 'object' && item !== null);
}

/** The first child element of that name. */
export function child(node: XmlNode | undefined, name: string): XmlNode | undefined {
  return children(node, name)[0];
}

/** An element's text or one of its attributes, or undefined. */
export function text(node: XmlNode | undefined, attribute?: string): string | undefined {
  const value = node?.[attribute === undefined ? '#text' : `@${attribute}`];
  return typeof value === 'string' ? value : undefined;
}
