package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/escrow-backup/escrow/repository"
)

type problem struct {
	MessageType string `json:"message_type"`
	Kind        string `json:"kind"`
	Subject     string `json:"subject"`
	Blob        string `json:"blob"`
	Snapshot    string `json:"snapshot"`
	Path        string `json:"path"`
	Harmless    bool   `json:"harmless"`
	Error       string `json:"error"`
}

type checkSummary struct {
	MessageType     string  `json:"message_type"`
	Problems        int     `json:"problems"`
	Harmless        int     `json:"harmless"`
	ReadData        bool    `json:"read_data"`
	ReadDataSubset  string  `json:"read_data_subset"`
	DurationSeconds float64 `json:"duration_seconds"`
}

func (a *app) checkCommand() *cobra.Command {
	var o repository.CheckOptions
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check that the repository is whole",
		Long: `check looks for missing and damaged files in the repository; with --read-data it reads, decrypts and hashes every byte, with
--read-data-subset those of a part of the packs: others each time. It repairs nothing. The exit code is 1 if there is a problem, other than a harmless one: a pack that a killed run left.

JSON: one {"message_type":"problem","kind":...,"subject":...,"blob":...,"snapshot":...,"path":...,"harmless":b,"error":...} a
problem; last line {"message_type":"summary","problems":n,"harmless":n,"read_data":b,"read_data_subset":...,"duration_seconds":x}. "problems" does
not count the harmless ones.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if o.ReadData && o.ReadSubset != (repository.Subset{}) {
				return usagef("--read-data excludes --read-data-subset")
			}
			return a.withRepo(ctx, func(repo *repository.Repo) error {
				began, problems, harmless := time.Now(), 0, 0
				for p, err := range repo.Check(ctx, &o) {
					if err != nil {
						return err
					}
					if p.Kind.Harmless() {
						harmless++
					} else {
						problems++
					}
					a.problem(p)
				}
				a.out.object(checkSummary{"summary", problems, harmless, o.ReadData, o.ReadSubset.String(), time.Since(began).Seconds()})
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
	cmd.Flags().Var(&parsed{kind: "subset", set: o.ReadSubset.Set}, "read-data-subset",
		"read, decrypt and hash a `SUBSET`: one of several parts, such as 2/7; so many percent, such as 5%; or a size, such as 10G")
	return cmd
}

func (a *app) problem(p repository.Problem) {
	o := problem{MessageType: "problem", Kind: string(p.Kind), Path: p.Path, Harmless: p.Kind.Harmless()}
	if p.Handle.Type != 0 {
		o.Subject = p.Handle.String()
	}
	if p.Blob != (repository.ID{}) {
		o.Blob = p.Blob.String()
	}
	if p.Snapshot != (repository.ID{}) {
		o.Snapshot = p.Snapshot.String()
	}
	if p.Err != nil {
		o.Error = oneLine(p.Err)
	}
	a.out.object(o)
	mark := "problem"
	if o.Harmless {
		mark = "harmless"
	}
	a.out.textf("%s: %s\n", mark, strings.ReplaceAll(p.String(), "\n", "; "))
}
