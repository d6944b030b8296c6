// Shapes of what the API answers, and of what the pages are made of.

/**
 * A number of an answer. Shares and ratios have numerator and denominator, means and percentiles
 * the number of their values. `small` says that there is too little for a rate.
 * @typedef {object} Figure
 * @property {number | null} value
 * @property {number} [n]
 * @property {number} [d]
 * @property {boolean} [small]
 * @property {Figure} [was]
 * @property {number | null} [change]
 * @property {[number, number]} [interval]
 */

/** @typedef {"count" | "percent" | "seconds" | "milliseconds" | "ratio" | "fraction" | "points" | "rows" | "text" | "time"} Unit */

/** @typedef {string | number | boolean | null} Cell */

/**
 * A list of an answer. The first of an answer is its main one.
 * @typedef {{ name: string, columns: string[], rows: Cell[][] }} Table
 */

/**
 * Values over time: one for each bucket. `group` is that of a split, undefined for all.
 * @typedef {{ name: string, group?: string | null, values: (number | null)[], small: boolean[] }} Line
 */

/**
 * Buckets are half open: `bounds` has one instant more than each line has values.
 * @typedef {{ bucket: string, bounds: string[], unit: Unit, lines: Line[] }} Series
 */

/**
 * What the API gives for a metric.
 * @typedef {object} Answer
 * @property {string} id
 * @property {string} title
 * @property {string} definition
 * @property {Unit} unit
 * @property {Record<string, Figure>} values
 * @property {Record<string, Unit>} units Of its numbers.
 * @property {Table[]} tables
 * @property {Series | null} series
 * @property {Record<string, any>} filters
 * @property {{ from: string, to: string } | null} compared
 * @property {string | null} as_of
 * @property {{ name: string, sql: string, values: Cell[] }[]} sql
 * @property {any} raw What the API gave.
 */

/**
 * The address, taken apart. Filters with several values are alternatives.
 * @typedef {object} Address
 * @property {string} page
 * @property {string} session
 * @property {string} event
 * @property {Record<string, string[]>} filters
 * @property {string[]} unknown
 */

/** @typedef {{ at: string, name: string }} Release */

/**
 * A card as data: which metric, in which form.
 * @typedef {object} Card
 * @property {string} id
 * @property {string} metric
 * @property {Form} form
 * @property {number} span
 * @property {boolean} [half]
 * @property {string} title
 * @property {(answer: Answer, address: Address) => string} line
 * @property {Record<string, string>} [options]
 * @property {boolean} [over] Whether it needs the numbers over time.
 * @property {Record<string, any>} [draw]
 * @property {"vs"} [needs] The part of the address without which there is nothing to show.
 * @property {string} [below] Id of the card that shares its place, below it.
 * @property {{ page: string, text: string }} [more]
 * @property {{ text: string, command: string }} [setup] What to do if its list is empty.
 */

/** @typedef {"number" | "stacked" | "lines" | "bars" | "outcomes" | "histogram" | "heat" | "sankey" | "funnel" | "table" | "drift" | "changes" | "figures" | "conversations" | "preview" | "review" | "texts"} Form */

export {};
