from hrm_sweep.cli import main

main()
