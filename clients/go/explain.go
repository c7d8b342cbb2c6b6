// Explain one text and print the verdict: explain 127.0.0.1:8001 "The plot is thin."
//
// Plain text and nobody's: where the service wants TLS and a token, give Dial credentials.NewTLS and the outgoing
// metadata "authorization: Bearer TOKEN".
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	rollcall "rollcall.dev/gen/rollcall/v1"
)

// Explaining has no side effects that a second try would double: what found the service unavailable is tried again.
const retries = `{"methodConfig": [{"name": [{"service": "rollcall.v1.ExplanationService"}], "retryPolicy": {
	"maxAttempts": 4, "initialBackoff": "0.2s", "maxBackoff": "5s", "backoffMultiplier": 2,
	"retryableStatusCodes": ["UNAVAILABLE"]}}]}`

func main() {
	target, text := argument(1, "127.0.0.1:8001"), argument(2, "The plot is thin, but the actors are charming.")
	if err := explain(target, text); err != nil {
		fmt.Fprintln(os.Stderr, told(err))
		os.Exit(1)
	}
}

func argument(index int, otherwise string) string {
	if len(os.Args) > index {
		return os.Args[index]
	}
	return otherwise
}

func explain(target, text string) error {
	connection, err := grpc.Dial(target, grpc.WithInsecure(), grpc.WithDefaultServiceConfig(retries))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	answer, err := rollcall.NewExplanationServiceClient(connection).Explain(ctx, &rollcall.ExplainRequest{
		Input: &rollcall.ExplainRequest_Text{Text: &rollcall.TextInput{Text: text}},
	})
	if err != nil {
		return err
	}
	verdict := answer.GetVerdict()
	fmt.Printf("%s: %s (%s)\n", answer.GetPrediction().GetPredicted(),
		strings.TrimPrefix(verdict.GetFlag().String(), "FLAG_"),
		strings.TrimPrefix(verdict.GetReason().String(), "REASON_"))
	if shown := shown(answer); shown.GetVerdict().GetFlag() == rollcall.Flag_FLAG_FAITHFUL { // no other may be drawn
		words(answer, shown)
	}
	return nil
}

// shown is the map to put before people: the recommended one, or the primary one if there is none.
func shown(answer *rollcall.ExplainResponse) *rollcall.Attribution {
	wanted := answer.GetRecommendedMap()
	if wanted == rollcall.MapKind_MAP_KIND_UNSPECIFIED {
		wanted = answer.GetPrimaryMap()
	}
	for _, attribution := range answer.GetAttributions() {
		if attribution.GetMap() == wanted {
			return attribution
		}
	}
	return nil
}

// words prints each word with its weight in the map and what removing it does to the decision's log-odds.
func words(answer *rollcall.ExplainResponse, shown *rollcall.Attribution) {
	effects := map[int32]float64{}
	for _, effect := range answer.GetEffects() {
		effects[effect.GetUnit()] = effect.GetEffect()
	}
	for index, unit := range answer.GetUnits() {
		if !unit.GetSpecial() {
			fmt.Printf("%-12s %.2f %+.2f\n", unit.GetText(), shown.GetScores()[index], effects[int32(index)])
		}
	}
}

// told is a failure in one line, with the fields that are at fault where the service names them.
func told(err error) string {
	found := status.Convert(err)
	line := fmt.Sprintf("%s: %s", name(found.Code()), found.Message())
	for _, detail := range found.Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok {
			for _, violation := range bad.GetFieldViolations() {
				line += fmt.Sprintf("\n  %s %s", violation.GetField(), violation.GetDescription())
			}
		}
	}
	return line
}

// name is a code as every other language writes it: InvalidArgument is INVALID_ARGUMENT.
func name(code codes.Code) string {
	var out strings.Builder
	for index, letter := range code.String() {
		if index > 0 && 'A' <= letter && letter <= 'Z' && code != codes.OK {
			out.WriteByte('_')
		}
		out.WriteRune(letter)
	}
	return strings.ToUpper(out.String())
}
