/** How much of a file's beginning `explainInput` looks at, in bytes. */
export const EXPLAINED_BYTES = 4_096;

const MAGIC: readonly {
  readonly bytes: readonly number[];
  readonly what: string;
  readonly remedy: string;
}[] = [
  {
    bytes: [0x1f, 0x8b],
    what: 'gzip-compressed',
    remedy: 'Unpack it first: gunzip -c in.jsonl.gz > in.jsonl',
  },
  {
    bytes: [0x28, 0xb5, 0x2f, 0xfd],
    what: 'zstd-compressed',
    remedy: 'Unpack it first: zstd -dc in.jsonl.zst > in.jsonl',
  },
  {
    bytes: [0x42, 0x5a, 0x68],
    what: 'bzip2-compressed',
    remedy: 'Unpack it first: bunzip2 -c in.jsonl.bz2 > in.jsonl',
  },
  {
    bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a],
    what: 'xz-compressed',
    remedy: 'Unpack it first: xz -dc in.jsonl.xz > in.jsonl',
  },
  {
    bytes: [0x50, 0x4b, 0x03, 0x04],
    what: 'a ZIP archive (or a spreadsheet, which is one)',
    remedy: 'Unpack it first: unzip -p in.zip > in.jsonl; save a spreadsheet as CSV',
  },
  {
    bytes: [0x50, 0x41, 0x52, 0x31],
    what: 'a Parquet file',
    remedy: `Convert it: python3 -c "import pandas; pandas.read_parquet('in.parquet').to_json('in.jsonl', orient='records', lines=True)"`,
  },
  {
    bytes: [0x25, 0x50, 0x44, 0x46],
    what: 'a PDF document',
    remedy: 'Send a file with one JSON object a line',
  },
];

/** What the file is, and what to do about it: a sentence each, without their full stops. */
interface Explained {
  readonly what: string;
  readonly remedy: string;
}

/**
 * What a file is that is not JSONL, and the command that mends it, from its first `EXPLAINED_BYTES`; `null` when nothing
 * known is recognized. Ask only about a file whose first line is not a JSON object: the answer then holds for the whole
 * file. Never quotes the file.
 */
export function explainInput(head: Uint8Array): string | null {
  const found = byMagic(head) ?? byEncoding(head) ?? byText(textOf(head));
  return found === null ? null : `The file is not JSONL: it is ${found.what}. ${found.remedy}`;
}

const byMagic = (head: Uint8Array): Explained | null =>
  MAGIC.find(({ bytes }) => bytes.every((byte, at) => head[at] === byte)) ?? null;

function byEncoding(head: Uint8Array): Explained | null {
  const [first, second, third, fourth] = head;
  const encoded = (encoding: string): Explained => ({
    what: `${encoding} text, and JSONL is UTF-8`,
    remedy: `Convert it: iconv -f ${encoding} -t UTF-8 in.jsonl > out.jsonl (PowerShell: Out-File -Encoding utf8)`,
  });
  if (first === 0xff && second === 0xfe) return encoded(third === 0 && fourth === 0 ? 'UTF-32' : 'UTF-16');
  if (first === 0xfe && second === 0xff) return encoded('UTF-16');
  // Without a mark: every other byte of plain letters is zero.
  if (first === 0 && second === 0 && third === 0 && fourth !== 0) return encoded('UTF-32BE');
  if (first !== 0 && second === 0) return encoded(third === 0 ? 'UTF-32LE' : 'UTF-16LE');
  if (first === 0 && second !== 0 && third === 0) return encoded('UTF-16BE');
  return null;
}

const textOf = (head: Uint8Array): string =>
  new TextDecoder('utf-8').decode(head.subarray(0, EXPLAINED_BYTES)).trimStart();

function byText(text: string): Explained | null {
  if (text.startsWith('[')) {
    return {
      what: 'one JSON array, and JSONL has one object a line',
      remedy: "Convert it: jq -c '.[]' in.json > in.jsonl",
    };
  }
  if (/^\{[ \t]*\r?\n\s*(?:"|\})/.test(text)) {
    return {
      what: 'JSON spread over several lines, and JSONL has one object a line',
      remedy: 'Convert it: jq -c . in.json > in.jsonl',
    };
  }
  if (/^\{[^\n]*\r(?!\n)\s*\{/.test(text)) {
    return {
      what: 'text whose lines end in carriage returns alone',
      remedy: String.raw`Convert it: tr '\r' '\n' < in.jsonl > out.jsonl`,
    };
  }
  if (/^\{.*\}[ \t]*\{/.test(text)) {
    return {
      what: 'several JSON objects on one line',
      remedy: 'Convert it: jq -c . in.json > in.jsonl',
    };
  }
  if (text.startsWith('<')) {
    return {
      what: /^<(?:!doctype html|html)/i.test(text) ? 'an HTML page' : 'XML or HTML',
      remedy:
        'It is often an error or login page that was saved in the place of a download: fetch it again with curl -fL',
    };
  }
  if (/^-{2,}[^\r\n]*\r?\ncontent-disposition:/i.test(text)) {
    return {
      what: 'the body of a form',
      remedy: 'Send the file alone, or as a form with curl -F file=@in.jsonl -F purpose=batch',
    };
  }
  return looksLikeTable(text) ? TABLE : null;
}

const TABLE: Explained = {
  what: 'a table such as CSV, and JSONL has one JSON object a line',
  remedy: `Convert it, with the column of your prompts for "prompt": python3 -c "import csv,json,sys; [print(json.dumps({'custom_id': f'row-{n}', 'body': {'messages': [{'role': 'user', 'content': row['prompt']}]}})) for n, row in enumerate(csv.DictReader(sys.stdin), 1)]" < in.csv > in.jsonl`,
};

/** A first line of short names, and a second with the same separator. */
function looksLikeTable(text: string): boolean {
  const [header = '', row = ''] = text.split(/\r?\n/, 2);
  const separator = [',', ';', '\t'].find((candidate) => header.includes(candidate));
  if (separator === undefined || !row.includes(separator)) return false;
  return header.split(separator).every((name) => name.length <= 60 && !/[{}[\]]/.test(name));
}
