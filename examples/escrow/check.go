package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/escrow-backup/escrow/repository"
)

type problem struct {
	MessageType string `json:"message_type"`
	Kind        string `json:"kind"`
	Subject     string `json:"subject"`
	Blob        string `json:"blob"`
	Error       string `json:"error"`
}

type checkSummary struct {
	MessageType     string  `json:"message_type"`
	Problems        int     `json:"problems"`
	ReadData        bool    `json:"read_data"`
	DurationSeconds float64 `json:"duration_seconds"`
}

func (a *app) checkCommand() *cobra.Command {
	var o repository.CheckOptions
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check that the repository is whole",
		Long: `check looks for missing and damaged files in the repository; with --read-data it reads, decrypts and hashes every byte. It
repairs nothing. The exit code is 1 if there is a problem.

JSON: one {"message_type":"problem","kind":...,"subject":...,"blob":...,"error":...} a problem; last line
{"message_type":"summary","problems":n,"read_data":b,"duration_seconds":x}.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			return a.withRepo(ctx, func(repo *repository.Repo) error {
				began, problems := time.Now(), 0
				for p, err := range repo.Check(ctx, &o) {
					if err != nil {
						return err
					}
					problems++
					a.problem(p)
				}
				a.out.object(checkSummary{"summary", problems, o.ReadData, time.Since(began).Seconds()})
				if problems > 0 {
					return fmt.Errorf("check repository %.8s: %s found", repo.ID(),
						count(int64(problems), "problem", "problems"))
				}
				if !a.quiet {
					a.out.textf("no problems found\n")
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&o.ReadData, "read-data", false, "read, decrypt and hash every byte")
	return cmd
}

func (a *app) problem(p repository.Problem) {
	o := problem{MessageType: "problem", Kind: fmt.Sprint(p.Kind), Subject: p.Handle.String(), Error: p.Err.Error()}
	if p.Blob != (repository.ID{}) {
		o.Blob = p.Blob.String()
	}
	a.out.object(o)
	if o.Blob != "" {
		a.out.textf("%s: %s: blob %s: %s\n", o.Kind, o.Subject, o.Blob, oneLine(p.Err))
		return
	}
	a.out.textf("%s: %s: %s\n", o.Kind, o.Subject, oneLine(p.Err))
}
