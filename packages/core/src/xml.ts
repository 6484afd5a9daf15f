const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
  '\t': '&#9;',
  '\n': '&#10;',
  '\r': '&#13;',
};

// oxlint-disable-next-line no-control-regex -- these are the characters to find
const unspeakable = /[\0-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g;

/** Text as it stands in attributes and elements; what XML 1.0 (section 2.2) has no room for becomes U+FFFD. */
export function escapeXml(text: string): string {
  return xmlText(text).replaceAll(/[&<>"'\t\n\r]/g, (character) => entities[character] ?? character);
}

/** Whether XML can hold the text as it is. */
export function isXmlText(text: string): boolean {
  return xmlText(text) === text;
}

function xmlText(text: string): string {
  return text.toWellFormed().replaceAll(unspeakable, '\ufffd');
}
