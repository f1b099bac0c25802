"""`surgrec vlm`: scores of a vision-language model on held-out cases."""

from pathlib import Path
from typing import Literal

from surgrec.commands._train_extra import train_extra
from surgrec.terminal import SOME_FAILED, escape, print_json, say, spinner, stage_progress
from surgrec.text import as_list


def vlm(
    corpus: list[str],
    *,
    task: str,
    split: Path,
    out: Path,
    model: str = "",
    endpoint: str = "",
    transformers: Path | None = None,
    task_kind: Literal["classes", "phases", "labels", "triplets"] = "classes",
    task_scope: Literal["moment", "video"] = "moment",
    frames: int = 8,
    times: Literal["window", "video", "none"] = "window",
    class_names: Path | None = None,
    context: str = "",
    window_frames: int = 16,
    fps: float = 4.0,
    stride_s: float = 1.0,
    wordings: int = 3,
    orders: int = 3,
    variation_windows: int = 200,
    controls: list[Literal["no_image", "other_case"]] | None = None,
    constrain: Literal["auto", "structured", "json_schema", "json_object", "text"] = "auto",
    image_px: int = 448,
    max_tokens: int = 0,
    seed: int = 0,
    allow_hosts: str | list[str] = "",
    api_key_env: str = "",
    parallel: int = 4,
    timeout_s: float = 300.0,
    tries: int = 6,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    allow: str | list[str] = "",
    allow_pretraining_overlap: bool = False,
    allow_unknown_pretraining: bool = False,
    allow_repeated_frames: bool = False,
    rescore: bool = False,
    export: Literal["no", "lmms-eval", "vlmevalkit"] = "no",
    json: bool = False,
) -> int:
    r"""Ask a vision-language model about held-out windows, and score its answers.

    The windows, splits, baselines and files are those of `surgrec evaluate`, so that `surgrec
    compare` pairs both. Images go to this machine, or to a host of --allow_hosts. To continue a
    killed job, run the same command again. Exit status 3: some windows could not be read.

    Args:
        corpus: One or several corpora (folders, or s3://bucket/prefix).
        task: Labels to predict, such as phase.
        split: YAML file with the rules that select train and test cases.
        out: Folder for answers.jsonl, evaluation.json, vlm.json and the tables of predictions.
        model: Name of the model: at the endpoint, and in tables.
        endpoint: Address of a server with chat completions, such as http://127.0.0.1:8000/v1.
        transformers: Local folder of a model, to run in this process in place of a server.
        task_kind: Kind of the labels, as in `surgrec evaluate`.
        task_scope: moment or video: for how long a label holds, as in `surgrec evaluate`.
        frames: Images of a window that the model sees, such as 1, 8 or 16; the last frame is one.
        times: Time beside each image: seconds before the last image (window), seconds of the video
            (video), or none.
        class_names: YAML file that maps labels to the words of the prompts, `label: text`.
        context: Sentence at the beginning of each prompt, such as the procedure.
        window_frames: Frames of a window. To compare with an encoder, give it the same windows.
        fps: Frames per second within a window.
        stride_s: Seconds from the start of one window to the start of the next.
        wordings: Wordings of the question, 1 to 3. The first is scored; the others show whether
            the answer changes.
        orders: Orders of the options. The first is scored; the others show whether the answer
            changes.
        variation_windows: Test windows that are asked in all wordings and orders; 0 for all.
        controls: Controls that are asked for every test window: without its images, and with those
            of another case. Default: both.
        constrain: How answers are kept to their form; auto finds a way that the server supports.
        image_px: Longest side of an image, pixels; frames are never enlarged.
        max_tokens: Largest length of an answer, tokens; 0: as many as the form needs. Models that
            think need more.
        seed: Seed of orders, of the windows of variations and of other cases.
        allow_hosts: Hosts beside this machine that may receive images: a name, or a list.
        api_key_env: Environment variable that has the key of the server.
        parallel: Requests at once. Results depend on it only if the answers of the server do.
        timeout_s: Seconds after which a try of a request ends.
        tries: Tries of a request before the job ends.
        device: Device of a model of --transformers.
        allow: Name of a finding of `surgrec audit` about the split that does not stop the
            evaluation, or a list.
        allow_pretraining_overlap: Continue if the model was trained on test cases.
        allow_unknown_pretraining: Continue although it is unknown what the model was trained on,
            as for every published model; the result states it.
        allow_repeated_frames: Also use videos with fewer frames per second.
        rescore: Read and score the stored answers again, without a model.
        export: Write the windows for another harness into a folder of --out, and ask no model.
        json: Print the contents of evaluation.json and vlm.json instead of tables.

    Example:
        surgrec vlm /data/labeled --task phase --split split.yaml --model qwen2.5-vl-7b \
            --endpoint http://127.0.0.1:8000/v1 --allow_unknown_pretraining --out results/qwen
    """
    with train_extra():
        from surgrec.evaluation import TaskChoice, print_evaluation, read_split
        from surgrec.vlms import (
            ModelConfig,
            PromptConfig,
            ServerConfig,
            VlmConfig,
            VlmEvaluation,
            WindowConfig,
            export_task,
            print_stability,
            read_class_names,
        )

    server = ServerConfig(
        endpoint=endpoint,
        allow_hosts=tuple(as_list(allow_hosts)),
        api_key_env=api_key_env,
        constrain=constrain,
        parallel=parallel,
        timeout_s=timeout_s,
        tries=tries,
    )
    config = VlmConfig(
        task=TaskChoice(
            corpora=corpus,
            task=task,
            kind=task_kind,
            scope=task_scope,
            split=read_split(split),
            allow=tuple(as_list(allow)),
            allow_pretraining_overlap=allow_pretraining_overlap,
            allow_unknown_pretraining=allow_unknown_pretraining,
            allow_repeated_frames=allow_repeated_frames,
        ),
        model=ModelConfig(
            name=model or ("" if export == "no" else "any model"),
            server=server if endpoint or (export != "no" and transformers is None) else None,
            folder=transformers,
            device=device,
            max_tokens=max_tokens,
        ),
        out=out,
        windows=WindowConfig(num_frames=window_frames, fps=fps, stride_s=stride_s),
        prompts=PromptConfig(
            frames=frames,
            times=times,
            class_names={} if class_names is None else read_class_names(class_names),
            context=context,
            wordings=wordings,
            orders=orders,
            variation_windows=variation_windows,
            controls=("no_image", "other_case") if controls is None else tuple(controls),
            image_px=image_px,
            seed=seed,
        ),
    )
    if export != "no":
        with stage_progress() as update:
            folder, left_out = export_task(config, export, update)
        say(escape(f"windows for {export}: {folder}, {left_out} left out, as they cannot be read"))
        return SOME_FAILED if left_out else 0

    evaluation = VlmEvaluation.open(config, stored=rescore)
    with evaluation:
        if not rescore:
            say(escape(f"images go to {evaluation.destination}"))
            with stage_progress() as update:
                evaluation.ask(update)
        with spinner("scoring answers"):
            record, stability = evaluation.score()

    if json:
        print_json({**record, "vlm": stability})
    else:
        print_evaluation(record)
        print_stability(stability)
    say(escape(f"evaluation: {config.out}, of {model}"))
    return SOME_FAILED if any(part["failed"] for part in record["counts"].values()) else 0
