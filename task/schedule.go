package task

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// +kubebuilder:object:generate=false

// Schedule is when something happens again and again.
type Schedule struct {
	cron.Schedule
	// Expression is the cron expression without a time zone, as a CronJob's spec.schedule has it.
	Expression string
	// TimeZone is as a CronJob's spec.timeZone has it; empty: that of the cluster.
	TimeZone string
}

// ParseSchedule reads a cron expression of five fields (minute, hour, day, month, day of the week), or one such as "@daily" or "@every 1h".
// The time zone may be given apart, or as "CRON_TZ=Europe/Berlin " or "TZ=..." before the expression. Without one, it is UTC
// for [Schedule.Next], and the cluster's own for a CronJob.
func ParseSchedule(expression, timeZone string) (*Schedule, error) {
	if strings.TrimSpace(expression) == "" {
		return nil, errors.New("no cron expression")
	}
	s := &Schedule{Expression: strings.TrimSpace(expression), TimeZone: timeZone}
	for _, prefix := range []string{"CRON_TZ=", "TZ="} {
		rest, found := strings.CutPrefix(s.Expression, prefix)
		if !found {
			continue
		}
		zone, rest, _ := strings.Cut(rest, " ")
		if timeZone != "" && timeZone != zone {
			return nil, fmt.Errorf("time zone %q, and %q in the expression %q", timeZone, zone, expression)
		}
		s.Expression, s.TimeZone = strings.TrimSpace(rest), zone
		break
	}
	zone := s.TimeZone
	if zone == "" {
		zone = "UTC"
	}
	location, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return nil, fmt.Errorf("time zone %q is not known", zone)
	}
	parsed, err := cron.ParseStandard(s.Expression)
	if err != nil {
		return nil, fmt.Errorf("cron expression %q: %w", s.Expression, err)
	}
	if fields, ok := parsed.(*cron.SpecSchedule); ok {
		fields.Location = location
	}
	s.Schedule = parsed
	return s, nil
}
