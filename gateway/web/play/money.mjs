// Amounts as people read them. An amount is a BigInt of minor units; nothing here is a fraction of anything.

/** An integer that came as JSON; the server sends none above 2^53 - 1. Throws RangeError for anything else. */
export function minor(value) {
  if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is no amount of minor units`);
  return BigInt(value);
}

/** `amount` in a currency with so many decimals: "12.34 EUR", the same in every language. */
export function moneyText(amount, exponent, code) {
  const digits = (amount < 0n ? -amount : amount).toString().padStart(exponent + 1, "0");
  const whole = digits.slice(0, digits.length - exponent);
  const decimals = exponent === 0 ? "" : `.${digits.slice(-exponent)}`;
  return `${amount < 0n ? "-" : ""}${whole}${decimals} ${code}`;
}

/** The nearest stake that the limits allow: at least the least, at most the greatest, in whole steps from the least. */
export function allowedStake(stake, { least, greatest, step }) {
  const within = stake < least ? least : stake > greatest ? greatest : stake;
  return within - ((within - least) % step);
}
