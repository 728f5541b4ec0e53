package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"time"
	_ "time/tzdata" // the zones of any machine

	"github.com/robfig/cron/v3"
)

const days = 400

// zones have clocks that change: at midnight, in the night, in the day of a standard time, four times a year, or never.
var zones = []string{
	"UTC", "Europe/Berlin", "Europe/London", "Europe/Dublin", "America/New_York", "America/St_Johns", "America/Havana",
	"America/Santiago", "America/Asuncion", "America/Nuuk", "Africa/Cairo", "Africa/Casablanca", "Asia/Beirut",
	"Asia/Jerusalem", "Asia/Almaty", "Asia/Kathmandu", "Australia/Adelaide", "Pacific/Auckland",
	"Antarctica/Troll",
}

var inZones = []string{
	"30 2 * * *", "0 2 * * *", "45 1,3 * * *", "0 0 * * *", "30 0 * * *", "59 23 * * *", "15 */2 * * *", "0 * * * *",
	"15,45 0-3 * * *", "10 23,0,1 * * 6,0", "0 3 1 * *", "0 0 13 * 5",
}

type zoneLine struct {
	Zone       string `json:"zone"`
	Expression string `json:"expression"`
	Times      int    `json:"times"`
	Digest     string `json:"digest"`
}

// writeZones writes the number of times in the 400 days after 2024-01-01T00:00:00Z, and a digest of them: of their
// seconds since 1970, each with a newline.
func writeZones() {
	encoder := json.NewEncoder(os.Stdout)
	first := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	last := first.Add(days * 24 * time.Hour)
	for _, zone := range zones {
		for _, expression := range inZones {
			schedule, err := cron.ParseStandard(fmt.Sprintf("TZ=%s %s", zone, expression))
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			digest, count := sha256.New(), 0
			for at := schedule.Next(first); !at.IsZero() && !at.After(last); at = schedule.Next(at) {
				fmt.Fprintln(digest, at.Unix())
				count++
			}
			line := zoneLine{zone, expression, count, fmt.Sprintf("%x", digest.Sum(nil)[:8])}
			if err := encoder.Encode(line); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
}
