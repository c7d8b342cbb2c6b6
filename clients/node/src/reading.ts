/** Questions that readers of an answer have, answered once. */

import { Flag, Reason, type Attribution, type ExplainResponse, type Unit } from "./gen/rollcall/v1/explanation_pb.js";
import { InvalidAnswer } from "./errors.js";

/** One word (or group of words) of the input, what a map gives it, and what removing it does. */
export interface Word {
  readonly unit: Unit;
  readonly score: number;
  /** Log-odds towards the target; undefined where nothing was checked. */
  readonly effect: number | undefined;
}

/** The map whose flag is the answer's flag. */
export function primaryOf(explanation: ExplainResponse): Attribution {
  return mapOf(explanation, explanation.primaryMap);
}

/**
 * The map to put before people: the FAITHFUL one with the strongest evidence, or the primary one if there is none. Look
 * at its flag before you draw it.
 */
export function shownOf(explanation: ExplainResponse): Attribution {
  return mapOf(explanation, explanation.recommendedMap || explanation.primaryMap);
}

/** The words in reading order, each with its score in a map. Special tokens are no words. */
export function wordsOf(explanation: ExplainResponse, attribution: Attribution): Word[] {
  if (attribution.scores.length !== explanation.units.length) {
    throw new InvalidAnswer("a map has another number of scores than there are units", {
      code: "OK",
      requestId: explanation.requestId,
    });
  }
  const effects = new Map(explanation.effects.map((effect) => [effect.unit, effect.effect]));
  return explanation.units.flatMap((unit, index) =>
    unit.special ? [] : [{ unit, score: attribution.scores[index] ?? 0, effect: effects.get(index) }],
  );
}

/** A flag's name; one of a newer service than this client is UNKNOWN_n, which is not FAITHFUL. */
export function flagName(flag: Flag): string {
  return Flag[flag] ?? `UNKNOWN_${flag}`;
}

/** A reason's name; NONE for flags that need none. */
export function reasonName(reason: Reason): string {
  return reason === Reason.UNSPECIFIED ? "NONE" : (Reason[reason] ?? `UNKNOWN_${reason}`);
}

function mapOf(explanation: ExplainResponse, kind: number): Attribution {
  const found = explanation.attributions.find((attribution) => attribution.map === kind);
  if (found) return found;
  throw new InvalidAnswer("the map that the answer speaks of is not in it", {
    code: "OK",
    requestId: explanation.requestId,
  });
}
