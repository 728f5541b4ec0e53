// Command cronjob writes how the parser of Kubernetes' CronJob reads a few hundred cron expressions.
//
//	go run . > ../../../tests/proofs/cronjob_times.jsonl
//	go run . zones > ../../../tests/proofs/cronjob_zones.jsonl
//
// Each line is one expression with its first times after 2024-01-01T00:00:00Z, or with the parser's error. The
// expressions come from a fixed seed, so the output changes only with the parser.
package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

const (
	seed    = 11
	drawn   = 400
	perLine = 8
)

// written has one small expression for each form of the syntax.
var written = []string{
	"0 0 */10 * Mon", "0 0 */10 * *", "0 0 */1 * Mon", "0 0 ? * Mon", "0 0 13 * ?", "0 0 13 * *", "0 0 13 * 5",
	"0 0 1-31 * Mon", "0 0 1-31/1 * Mon", "0 0 13 * */2", "0 0 13 * */1", "0 0 13 * 0-6", "0 0 13 * 0/1", "0 0 1/1 * Mon",
	"0 0 1,* * Mon", "0 0 *,1 * Mon", "0 0 */2,* * Mon", "0 0 */2,5 * Mon", "0 0 ?/2 * Mon", "0 0 ?/1 * Mon",
	"0 0 ?,3 * Mon", "0 0 */31 * Mon", "0 0 */40 * Mon", "0 0 * * */7", "0 0 * * */6", "0 0 * * 1/2", "0 0 * * 6/2",
	"0 0 * * 7", "0 0 * * 5-7", "0 0 * * SUN-TUE", "0 0 * * sat-sun", "0 0 * * mon,WED,Fri", "0 0 * jan-mar,DEC *",
	"0 0 5/15 * *", "5/20 * * * *", "5-30/10 */6 * * *", "*/7 */5 * * *", "0 0 29 2 *", "0 0 30 2 *", "0 0 30 2 */2",
	"0 0 31 4,6 Mon", "0 0 31 */2 *", "0 0 * */5 *", "0 0 * 2/5 *", "05 07 08 09 *", "0 0 L * *", "0 0 * * 5L",
	"0 0 * * 1#2", "0 0 1-5-7 * *", "0 0 */2/3 * *", "*/0 * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *",
	"-1 * * * *", "+5 * * * *", "1,,2 * * * *", ", * * * *", "5-5 * * * *", "5-5/2 * * * *", "10-5 * * * *", "*-5 * * * *",
	"? ? * * *", "0 ? * * *", "0 0 * ? *", "*/90 * * * *", "0 0 * janu *", "0 0 1 1 0 0", "0 0 1 1", "",
	"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly", "@reboot", "@Daily", "@every 1h",
	"@every 90s", "@every x", " 0 0 * * *", "0  0\t* * *", "CRON_TZ=UTC 0 3 * * *", "TZ=UTC 0 3 * * *",
}

type line struct {
	Expression string   `json:"expression"`
	Times      []string `json:"times,omitempty"`
	Error      string   `json:"error,omitempty"`
}

func main() {
	if len(os.Args) > 1 {
		writeZones()
		return
	}
	draw := rand.New(rand.NewSource(seed))
	expressions := append([]string{}, written...)
	for range drawn {
		expressions = append(expressions, expression(draw))
	}
	encoder := json.NewEncoder(os.Stdout)
	for _, text := range expressions {
		if err := encoder.Encode(times(text)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// times returns the parser's answer. CronJob's controller uses ParseStandard too; it searches five years ahead.
func times(text string) line {
	schedule, err := cron.ParseStandard(text)
	if err != nil {
		return line{Expression: text, Error: err.Error()}
	}
	found := line{Expression: text}
	for at := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC); len(found.Times) < perLine; {
		if at = schedule.Next(at); at.IsZero() {
			break
		}
		found.Times = append(found.Times, at.UTC().Format(time.RFC3339))
	}
	return found
}

func expression(draw *rand.Rand) string {
	return strings.Join([]string{
		field(draw, 0, 59, nil, false),
		field(draw, 0, 23, nil, false),
		field(draw, 1, 31, nil, true),
		field(draw, 1, 12, []string{"Jan", "FEB", "mar", "Apr", "MAY", "jun", "Jul", "AUG", "sep", "Oct", "NOV", "dec"}, false),
		field(draw, 0, 6, []string{"Sun", "MON", "tue", "Wed", "THU", "fri", "Sat"}, true),
	}, " ")
}

func field(draw *rand.Rand, first, last int, names []string, isDay bool) string {
	if draw.Intn(3) == 0 {
		if isDay && draw.Intn(2) == 0 {
			return "?"
		}
		return "*"
	}
	terms := []string{term(draw, first, last, names)}
	for draw.Intn(4) == 0 {
		terms = append(terms, term(draw, first, last, names))
	}
	return strings.Join(terms, ",")
}

func term(draw *rand.Rand, first, last int, names []string) string {
	value := func(number int) string {
		if names != nil && draw.Intn(2) == 0 {
			return names[number-first]
		}
		return fmt.Sprint(number)
	}
	low, high := first+draw.Intn(last-first+1), first+draw.Intn(last-first+1)
	if low > high {
		low, high = high, low
	}
	step := 1 + draw.Intn(1+(last-first)/2)
	switch draw.Intn(6) {
	case 0:
		return fmt.Sprintf("%s-%s", value(low), value(high))
	case 1:
		return fmt.Sprintf("%s-%s/%d", value(low), value(high), step)
	case 2:
		return fmt.Sprintf("*/%d", step)
	case 3:
		return fmt.Sprintf("%s/%d", value(low), step)
	default:
		return value(low)
	}
}
