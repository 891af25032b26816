"""Prompts as people write them: in the job file, or in a .txt, .csv, .jsonl or .yaml file.

However they are written, `written.PromptReader` takes them one by one and checks them all alike.
"""

from batchgen.jobfile.prompts.files import read_prompt_file
from batchgen.jobfile.prompts.listed import read_list
from batchgen.jobfile.prompts.written import PromptReader, WrittenPrompt

__all__ = ["PromptReader", "WrittenPrompt", "read_list", "read_prompt_file"]
