import { element, readXml, child, text } from './xml.ts';
import type { XmlElement } from './xml.ts';

/** Namespace of our element in a domain's metadata. */
export const tagsNamespace = 'urn:bringup:vm:1';

const prefix = 'bringup';

/** The metadata element that holds a VM's tags, as JSON: XML would change white space in attributes. */
export function tagsElement(tags: Readonly<Record<string, string>>): XmlElement {
  const json = JSON.stringify(tags).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return element(`${prefix}:tags`, { [`xmlns:${prefix}`]: tagsNamespace }, [json]);
}

/** The tags in that element; none when somebody else wrote something else there. */
export function parseTags(xml: string): Readonly<Record<string, string>> {
  try {
    const value: unknown = JSON.parse(text(child(readXml(xml), 'tags')) ?? '');
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return {};
    return Object.fromEntries(
      Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
    );
  } catch {
    return {};
  }
}
