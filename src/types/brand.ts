declare const brand: unique symbol;

/** A primitive that carries its meaning: `Brand<number, "Port">` cannot be passed where another number is meant. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };
