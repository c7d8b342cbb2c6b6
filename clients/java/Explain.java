import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.Status;
import dev.rollcall.v1.Attribution;
import dev.rollcall.v1.Effect;
import dev.rollcall.v1.ExplainRequest;
import dev.rollcall.v1.ExplainResponse;
import dev.rollcall.v1.ExplanationServiceGrpc;
import dev.rollcall.v1.Flag;
import dev.rollcall.v1.MapKind;
import dev.rollcall.v1.TextInput;
import dev.rollcall.v1.Unit;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * Explain one text and print the verdict: {@code java Explain 127.0.0.1:8001 "The plot is thin."}
 *
 * <p>Plain text and nobody's: where the service wants TLS and a token, build the channel without usePlaintext and give the
 * stub credentials with the metadata "authorization: Bearer TOKEN".
 */
public final class Explain {
  public static void main(String[] arguments) throws InterruptedException {
    String target = arguments.length > 0 ? arguments[0] : "127.0.0.1:8001";
    String text = arguments.length > 1 ? arguments[1] : "The plot is thin, but the actors are charming.";
    // Explaining has no side effects that a second try would double: UNAVAILABLE is tried again.
    ManagedChannel channel =
        ManagedChannelBuilder.forTarget(target).usePlaintext().defaultServiceConfig(retries()).enableRetry().build();
    try {
      print(
          ExplanationServiceGrpc.newBlockingStub(channel)
              .withDeadlineAfter(20, TimeUnit.SECONDS)
              .explain(ExplainRequest.newBuilder().setText(TextInput.newBuilder().setText(text)).build()));
    } catch (StatusRuntimeException failure) {
      System.err.println(told(failure));
      System.exit(1);
    } finally {
      channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }
  }

  private static Map<String, Object> retries() {
    Map<String, Object> policy =
        Map.of(
            "maxAttempts", 4.0,
            "initialBackoff", "0.2s",
            "maxBackoff", "5s",
            "backoffMultiplier", 2.0,
            "retryableStatusCodes", List.of("UNAVAILABLE"));
    Map<String, Object> name = Map.of("service", "rollcall.v1.ExplanationService");
    return Map.of("methodConfig", List.of(Map.of("name", List.of(name), "retryPolicy", policy)));
  }

  private static void print(ExplainResponse answer) {
    System.out.printf(
        "%s: %s (%s)%n",
        answer.getPrediction().getPredicted(),
        answer.getVerdict().getFlag().name().substring("FLAG_".length()),
        answer.getVerdict().getReason().name().substring("REASON_".length()));
    Attribution shown = shown(answer);
    if (shown.getVerdict().getFlag() == Flag.FLAG_FAITHFUL) { // no other may be drawn
      printWords(answer, shown);
    }
  }

  /** The map to put before people: the recommended one, or the primary one if there is none. */
  private static Attribution shown(ExplainResponse answer) {
    MapKind recommended = answer.getRecommendedMap();
    MapKind wanted = recommended == MapKind.MAP_KIND_UNSPECIFIED ? answer.getPrimaryMap() : recommended;
    return answer.getAttributionsList().stream().filter(each -> each.getMap() == wanted).findFirst().orElseThrow();
  }

  /** Each word with its weight in the map and what removing it does to the decision's log-odds. */
  private static void printWords(ExplainResponse answer, Attribution shown) {
    Map<Integer, Double> effects = new HashMap<>();
    for (Effect effect : answer.getEffectsList()) {
      effects.put(effect.getUnit(), effect.getEffect());
    }
    for (int index = 0; index < answer.getUnitsCount(); index++) {
      Unit unit = answer.getUnits(index);
      if (!unit.getSpecial()) {
        System.out.printf(
            Locale.ROOT,
            "%-12s %.2f %+.2f%n",
            unit.getText(),
            shown.getScores(index),
            effects.getOrDefault(index, 0.0));
      }
    }
  }

  /** A failure in one line, with the fields that are at fault where the service names them. */
  private static String told(StatusRuntimeException failure) {
    StringBuilder line = new StringBuilder(failure.getStatus().getCode() + ": " + failure.getStatus().getDescription());
    Status status = StatusProto.fromThrowable(failure);
    for (Any detail : status == null ? List.<Any>of() : status.getDetailsList()) {
      if (detail.is(BadRequest.class)) {
        try {
          for (BadRequest.FieldViolation violation : detail.unpack(BadRequest.class).getFieldViolationsList()) {
            line.append("\n  ").append(violation.getField()).append(' ').append(violation.getDescription());
          }
        } catch (InvalidProtocolBufferException broken) {
          line.append("\n  (details that cannot be read)");
        }
      }
    }
    return line.toString();
  }
}
