/** Explain one text and print the verdict: `npm run example -- 127.0.0.1:8001 "The plot is thin."` */

import { Client, Flag, flagName, reasonName, RollcallError, shownOf, wordsOf } from "../src/index.js";

const [target = "127.0.0.1:8001", text = "The plot is thin, but the actors are charming."] = process.argv.slice(2);
const client = new Client(target);
try {
  const explanation = await client.explain(text, { timeoutMs: 20_000 });
  const { prediction, verdict } = explanation;
  console.log(`${prediction?.predicted}: ${flagName(verdict?.flag ?? Flag.UNSPECIFIED)} (${reasonName(verdict?.reason ?? 0)})`);
  const shown = shownOf(explanation);
  if (shown.verdict?.flag === Flag.FAITHFUL) {
    for (const { unit, score, effect } of wordsOf(explanation, shown)) {
      console.log(`${unit.text.padEnd(12)} ${score.toFixed(2)} ${effect?.toFixed(2) ?? ""}`);
    }
  }
} catch (error) {
  if (!(error instanceof RollcallError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
} finally {
  client.close();
}
